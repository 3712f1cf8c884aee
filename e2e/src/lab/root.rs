//! A writable copy of the base root: an overlay, made in milliseconds, private to the lab.

use std::{
    ffi::CString,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};

use super::{
    Inside, command,
    error::{During, Result},
};

/// A root file system of its own.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// Mounts an overlay named `name` on the base root.
    pub(crate) fn mount(inside: &Inside, name: &str) -> Result<Self> {
        Self::overlay(inside, name, &inside.tools().base_root.display().to_string())
    }

    /// Mounts an overlay named `name` on what `model` is now, which must not change any more.
    pub(crate) fn mount_on(inside: &Inside, name: &str, model: &Self) -> Result<Self> {
        let lower = model.0.with_file_name("upper");
        let base = inside.tools().base_root.display();
        Self::overlay(inside, name, &format!("{}:{base}", lower.display()))
    }

    fn overlay(inside: &Inside, name: &str, lower: &str) -> Result<Self> {
        let dir = inside.volatile().join("roots").join(name);
        let [upper, work, merged] = ["upper", "work", "root"].map(|part| dir.join(part));
        for dir in [&upper, &work, &merged] {
            fs::create_dir_all(dir).during("create", dir)?;
        }
        let options =
            format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        let options = CString::new(options).attempting("name the overlay's directories")?;
        mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str())
            .during("mount an overlay on", &merged)?;
        Ok(Self(merged))
    }

    /// The path of `inner` as seen from outside of the root.
    pub(crate) fn path(&self, inner: impl AsRef<Path>) -> PathBuf {
        let inner = inner.as_ref();
        self.0.join(inner.strip_prefix("/").unwrap_or(inner))
    }

    /// Where the volume that is seen as `inner` lies: beside the root, which may be read-only.
    pub(crate) fn volume(&self, inner: &str) -> PathBuf {
        self.0.with_file_name("volumes").join(inner.trim_start_matches('/'))
    }

    /// Makes a directory within a volume, and gives it to a user.
    pub(crate) fn make_in_volume(&self, inner: &str, owner: u32) -> Result<()> {
        let dir = self.volume(inner);
        fs::create_dir_all(&dir).during("create", &dir)?;
        chown(&dir, Some(owner), Some(owner)).during("change the owner of", &dir)
    }

    /// Writes a file with the given mode, and the directories above it.
    pub(crate) fn write(
        &self,
        inner: &str,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<PathBuf> {
        let path = self.path(inner);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).during("create", parent)?;
        }
        fs::write(&path, content).during("write", &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .during("set the mode of", &path)?;
        Ok(path)
    }

    /// Enables a unit for the next boot.
    pub(crate) fn enable(&self, unit: &str, target: &str) -> Result<()> {
        let wants = self.path(format!("/etc/systemd/system/{target}.wants"));
        fs::create_dir_all(&wants).during("create", &wants)?;
        let local = format!("/etc/systemd/system/{unit}");
        let file = if self.path(&local).exists() {
            local
        } else {
            format!("/usr/lib/systemd/system/{unit}")
        };
        let link = wants.join(unit);
        if link.symlink_metadata().is_ok() {
            return Ok(());
        }
        symlink(file, &link).during("link", &link)
    }

    /// Gives the root /proc, /dev and /sys, so that programs run in it with chroot alone, and makes
    /// the lab's files appear in it under their own paths.
    pub(crate) fn furnish(&self, inside: &Inside) -> Result<()> {
        let bind = |dir: &Path, how: fn(&Path, &Path) -> rustix::io::Result<()>| {
            let target = self.path(dir);
            fs::create_dir_all(&target).during("create", &target)?;
            how(dir, &target).during("bind", &target)
        };
        for dir in ["/proc", "/dev", "/sys"] {
            bind(Path::new(dir), |dir, target| mount_bind_recursive(dir, target))?;
        }
        // One by one: this root itself lies below, and a recursive bind would contain itself.
        for dir in [inside.shared(), &inside.volatile()] {
            bind(dir, |dir, target| mount_bind(dir, target))?;
        }
        Ok(())
    }

    /// A command that will run `program` within the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.0)
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8");
        command
    }

    /// Adds a user without a usable password. `*` and not `!`, because sshd without PAM refuses
    /// locked accounts.
    pub(crate) fn add_user(&self, name: &str, id: u32, home: &str) -> Result<()> {
        let id = id.to_string();
        let mut useradd = self.command("useradd");
        useradd.args(["--create-home", "--home-dir", home, "--uid", &id, "--shell", "/bin/sh"]);
        useradd.args(["--user-group", "--password", "*", name]);
        command::run(useradd).map(drop)
    }

    /// Gives a tree within the root to a user.
    pub(crate) fn give(&self, owner: &str, inner: &str) -> Result<()> {
        let mut chown = self.command("chown");
        chown.args(["--recursive", &format!("{owner}:{owner}"), inner]);
        command::run(chown).map(drop)
    }
}
