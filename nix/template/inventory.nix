# Domain, cluster, machines, and which of them play which role.
{
  domain = {
    suffix = "example.com";
  };
  clusters = [ { label = "core"; } ];
  machines = [
    {
      label = "host1";
      cluster = "core";
      interfaces = [
        {
          name = "eno1";
          addresses = [ "10.0.0.11/24" ];
        }
      ];
    }
    {
      label = "host2";
      cluster = "core";
      labels.site = "a";
      interfaces = [
        {
          name = "eno1";
          addresses = [ "10.0.0.12/24" ];
        }
      ];
    }
    {
      label = "host3";
      cluster = "core";
      labels.site = "b";
      interfaces = [
        {
          name = "eno1";
          addresses = [ "10.0.0.13/24" ];
        }
      ];
    }
  ];
  services = [
    {
      label = "web";
      cluster = "core";
      roles = [
        {
          name = "front";
          selectors = [ "host1" ];
          cardinality = {
            min = 1;
            max = 1;
          };
          ports = [
            {
              name = "http";
              port = 80;
            }
          ];
        }
        {
          # Every machine that has this label.
          name = "page";
          selectors = [ "label/site" ];
          cardinality.min = 1;
        }
      ];
    }
  ];
}
