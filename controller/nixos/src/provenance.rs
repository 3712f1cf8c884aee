//! What the local store knows about a path: its content's hash and who signed it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::nix::Nix;
use crate::source::{NarHash, one_line};
use crate::store_path::StorePath;

/// What a path is, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The hash over the path's content.
    pub nar_hash: NarHash,
    /// The length of that content as an archive, in bytes, without what it refers to.
    pub nar_size: u64,
    /// Names of the keys that signed it, sorted. Only the names: whether a signature is good is for
    /// the machine to say, which has the public key.
    pub signed_by: Vec<String>,
}

/// `nix path-info --json`: a list up to Nix 2.18, a map by path from 2.19 on, and a map by name
/// within `info` in format 2, which 2.34 announces to be the only one some day.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    List(Vec<Listed>),
    Wrapped { info: BTreeMap<String, Option<Info>> },
    Map(BTreeMap<String, Option<Info>>),
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    #[serde(flatten)]
    info: Option<Info>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    nar_hash: NarHash,
    pub(crate) nar_size: u64,
    /// Without their directory from 2.33 on.
    #[serde(default)]
    pub(crate) references: Vec<String>,
    #[serde(default)]
    signatures: Vec<String>,
}

impl Nix {
    /// What the local store knows about `path`.
    ///
    /// # Errors
    /// [`Error::ToolFailed`], also when `path` is not in the local store.
    pub async fn provenance(&self, path: &StorePath) -> Result<Provenance, Error> {
        let what = format!("asking for the provenance of {path}");
        let args = ["path-info", "--json", "--", path.as_str()];
        let output = self.nix(args, self.limits().store, what.clone()).run().await?;
        let absent = || Error::ToolFailed {
            what: what.clone(),
            code: output.code,
            stderr: format!("not in the local store: {}", one_line(&output.stderr)),
        };
        if !output.success() {
            return Err(absent());
        }
        parse(&output.stdout, path)
            .map_err(|why| Error::BadOutput { what: what.clone(), why: why.to_string() })?
            .ok_or_else(absent)
    }
}

/// All valid paths that `nix path-info --json` told, by what it calls them.
pub(crate) fn entries(json: &str) -> Result<Vec<(String, Info)>, serde_json::Error> {
    Ok(match serde_json::from_str(json)? {
        Answer::List(list) => {
            list.into_iter().filter_map(|entry| Some((entry.path, entry.info?))).collect()
        }
        Answer::Wrapped { info } | Answer::Map(info) => {
            info.into_iter().filter_map(|(path, info)| Some((path, info?))).collect()
        }
    })
}

fn parse(json: &str, path: &StorePath) -> Result<Option<Provenance>, serde_json::Error> {
    let base = path.as_str().rsplit('/').next().unwrap_or_default();
    let info = match serde_json::from_str(json)? {
        Answer::List(list) => {
            list.into_iter().find(|entry| entry.path == path.as_str()).and_then(|entry| entry.info)
        }
        Answer::Wrapped { mut info } => info.remove(base).flatten(),
        Answer::Map(mut map) => map.remove(path.as_str()).flatten(),
    };
    Ok(info.map(|info| {
        let names = info.signatures.iter().filter_map(|signature| signature.split_once(':'));
        let mut signed_by: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        signed_by.sort();
        signed_by.dedup();
        Provenance { nar_hash: info.nar_hash, nar_size: info.nar_size, signed_by }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by Nix 2.18, 2.26.3 and 2.34.8, and by the latter for `--json-format 2`.
    const FORMS: [&str; 4] = [
        r#"[{"deriver":null,"narHash":"sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY=","narSize":120,
            "path":"/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f","references":[],"registrationTime":1,
            "signatures":["cim-1:eA==","cache.example.com-1:eQ=="],"valid":true}]"#,
        r#"{"/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f":{"ca":null,"deriver":null,
            "narHash":"sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY=","narSize":120,"references":[],
            "registrationTime":1795262606,"signatures":["cim-1:eA==","cache.example.com-1:eQ=="],"ultimate":false}}"#,
        r#"{"/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f":{"ca":null,"deriver":null,
            "narHash":"sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY=","narSize":120,"references":[],
            "registrationTime":1795262606,"signatures":["cim-1:eA==","cache.example.com-1:eQ=="],
            "storeDir":"/nix/store","ultimate":false,"version":1}}"#,
        r#"{"info":{"ab3li50xq0nl4q5lxdyinb8w8y13my9s-f":{"ca":null,"deriver":null,
            "narHash":"sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY=","narSize":120,"references":[],
            "registrationTime":1795262606,"signatures":["cim-1:eA==","cache.example.com-1:eQ=="],
            "storeDir":"/nix/store","ultimate":false,"version":2}},"storeDir":"/nix/store","version":2}"#,
    ];

    #[test]
    fn each_form_of_path_info_says_the_same() {
        let path = "/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f".parse().unwrap();
        for form in FORMS {
            let found = parse(form, &path).unwrap().unwrap();
            assert_eq!(found.signed_by, ["cache.example.com-1", "cim-1"]);
            assert_eq!((found.nar_size, found.nar_hash.as_str().len()), (120, 51));
        }
    }

    #[test]
    fn an_absent_path_has_none() {
        let path = "/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f".parse().unwrap();
        for form in [
            r#"[{"path":"/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f","valid":false}]"#,
            r#"{"/nix/store/ab3li50xq0nl4q5lxdyinb8w8y13my9s-f":null}"#,
            "{}",
        ] {
            assert_eq!(parse(form, &path).unwrap(), None, "{form}");
        }
    }
}
