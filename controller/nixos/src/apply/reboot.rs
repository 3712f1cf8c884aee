//! Rebooting a machine, and seeing that it did.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::helper::{self, Verb};
use crate::nix::Limits;
use crate::ssh::{Connection, Host, Script};

const BOOT_ID: Script<'static> = Script {
    what: "reading the boot id",
    text: "cat /proc/sys/kernel/random/boot_id\n",
    args: &[],
};
const POLL: Duration = Duration::from_secs(1);

/// Reboots the machine if its boot is still `boot_id`, and waits for the next one.
pub(super) async fn reboot(host: &Host, boot_id: &str, limits: &Limits) -> Result<(), Error> {
    match helper::start(host, Verb::Reboot(boot_id), limits, None).await {
        // It may be gone before its answer is here.
        Ok(_) | Err(Error::Unreachable { .. } | Error::HostTimeout { .. }) => {}
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + limits.reboot;
    loop {
        // A new connection each time: the shared one may hang in the boot that is over.
        let seen = host.run_over(Connection::Fresh, BOOT_ID, limits.command).await;
        let last = match seen {
            Ok(output) if output.success() && output.stdout.trim() != boot_id => break,
            Ok(_) => format!("it still is in boot {boot_id}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() + POLL >= deadline {
            let after = limits.reboot;
            return Err(Error::NotRebooted { host: host.name().to_owned(), after, last });
        }
        sleep(POLL).await;
    }
    host.disconnect(limits.command).await;
    Ok(())
}
