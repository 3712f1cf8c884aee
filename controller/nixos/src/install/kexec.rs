//! Booting the installer from the system that runs.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::apply::Watch;
use super::job::{failed, poll, start};
use super::{Installer, Phase};
use crate::error::{Error, ParseError};
use crate::ssh::{Connection, Feed, Script};

/// A cut connection looks to the machine as the end of the file, hence the size.
const UPLOAD: &str = "\
umask 077
dir=$HOME/cim-kexec
rm -rf \"$dir\" && mkdir \"$dir\" && cat >\"$dir/image\" || exit 74
[ \"$(wc -c <\"$dir/image\")\" -eq \"$1\" ] && exit
echo 'the image did not arrive whole' >&2
exit 74
";
/// Announces the new kernel and leaves some seconds for our connection to end. It is over when the
/// machine is gone; that it goes on living is a failure.
const RUN: &str = "\
cd \"$HOME/cim-kexec\" && tar -xf image && rm -f image || exit
TMPDIR=$PWD ./kexec/run || exit
sleep 120
echo 'it announced to boot the installer, and did not'
exit 1
";
const PAUSE: Duration = Duration::from_secs(1);

/// Brings the image to the machine and boots it.
pub(super) async fn boot(
    installer: Installer<'_>,
    image: &Path,
    boot_id: &str,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let unreadable = |why: &std::io::Error| {
        let image = image.display().to_string();
        tracing::debug!(%why, image, "kexec image");
        Error::from(ParseError::new("kexec image", &image, "a file that can be read"))
    };
    let file = File::open(image).map_err(|why| unreadable(&why))?;
    let size = file.metadata().map_err(|why| unreadable(&why))?.len().to_string();
    let args = [size.as_str()];
    let script = Script { what: "taking the installer", text: UPLOAD, args: &args };
    watch.latest("bringing the installer");
    installer.bare.feed(script, Feed::File(file), installer.nix.limits().copy).await?;
    start(installer, Phase::Kexec, "-", &["/bin/sh", "-c", RUN]).await?;
    arrive(installer, boot_id, watch).await
}

/// Waits until another boot than `boot_id` answers, which must be an installer.
pub(super) async fn arrive(
    installer: Installer<'_>,
    boot_id: &str,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let Installer { bare: host, nix, deadlines, .. } = installer;
    let deadline = Instant::now() + deadlines.kexec;
    loop {
        // A new connection each time: the shared one may hang in the boot that is over.
        let seen = poll(host, Connection::Fresh, Phase::Kexec, nix.limits().command).await;
        let last = match seen {
            Ok(poll) if poll.boot_id != boot_id && poll.is_installer => break,
            Ok(poll) if poll.boot_id != boot_id => {
                host.disconnect(nix.limits().command).await;
                let why = "it was rebooted into something that is no installer".to_owned();
                return Err(failed(installer, Phase::Kexec, why).await);
            }
            Ok(poll) => {
                poll.tell(watch);
                if let Some(why) = poll.ended(Phase::Kexec, &deadlines) {
                    return Err(failed(installer, Phase::Kexec, why).await);
                }
                "it still is in its old boot".to_owned()
            }
            // An installer of nixos-images takes the host keys along; with others it would be
            // anybody's word.
            Err(error @ Error::HostKeyMismatch { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        if Instant::now() + PAUSE >= deadline {
            let why = format!("no installer after {:?}: {last}", deadlines.kexec);
            let host = host.name().to_owned();
            // Nobody is there who could tell a log.
            return Err(Error::InstallFailed {
                host,
                phase: Phase::Kexec,
                why,
                log: String::new(),
            });
        }
        sleep(PAUSE).await;
    }
    host.disconnect(nix.limits().command).await;
    Ok(())
}
