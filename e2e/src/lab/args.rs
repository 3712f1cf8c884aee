//! The lab's settings; the only place where it reads the environment.

use std::path::PathBuf;

/// Settings that every program with a lab in it accepts.
#[derive(Clone, Debug, clap::Args)]
pub struct LabArgs {
    /// Where built tools and the hosts' base root are kept between runs [default: cim in the
    /// user's cache directory]
    #[arg(long, env = "CIM_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,

    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,

    #[arg(long, env = "HOME", hide = true, default_value = "/root")]
    home: PathBuf,
}

impl LabArgs {
    /// The directory of the cache.
    pub fn cache_dir(&self) -> PathBuf {
        let user = || {
            // The XDG base directory specification: a relative path is to be ignored.
            let xdg = self.xdg_cache_home.clone().filter(|dir| dir.is_absolute());
            xdg.unwrap_or_else(|| self.home.join(".cache")).join("cim")
        };
        self.cache.clone().unwrap_or_else(user)
    }
}
