//! A program on the machine, run as the deploy user.

use cim_crds::machine::activation::CommandCheck;
use cim_nixos::{CheckOutcome, Host, run_check};

use super::Verdict;

/// Runs it once; it holds if it exits with 0 in time.
pub(super) async fn run(check: &CommandCheck, host: Option<&Host>) -> Verdict {
    let name = check.argv.first().map_or("", String::as_str);
    let Some(host) = host else {
        return Verdict::Unknown(format!("command {name}: nobody logs in to this machine"));
    };
    match run_check(host, &check.argv, check.timeout.as_std()).await {
        Ok(outcome) => judge(check, outcome),
        Err(error) => Verdict::Unknown(format!("command {name}: {error}")),
    }
}

fn judge(check: &CommandCheck, outcome: CheckOutcome) -> Verdict {
    let name = check.argv.first().map_or("", String::as_str);
    match outcome {
        CheckOutcome::Passed => Verdict::Passing,
        CheckOutcome::Failed { status, output } => {
            // The last line is where programs say why they end.
            let told = output.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
            Verdict::Failing(format!("command {name}: exit {status}{told}"))
        }
        CheckOutcome::TimedOut => {
            Verdict::Failing(format!("command {name}: no end within {}", check.timeout))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_and_the_last_line_are_told() {
        let check: CommandCheck =
            serde_json::from_str(r#"{"argv": ["systemctl", "is-active"]}"#).expect("a check");
        assert_eq!(judge(&check, CheckOutcome::Passed), Verdict::Passing);
        let failed = CheckOutcome::Failed { status: 3, output: "warning\ninactive".into() };
        let told = Verdict::Failing("command systemctl: exit 3: inactive".into());
        assert_eq!(judge(&check, failed), told);
        let silent = CheckOutcome::Failed { status: 1, output: String::new() };
        assert_eq!(judge(&check, silent), Verdict::Failing("command systemctl: exit 1".into()));
        let told = Verdict::Failing("command systemctl: no end within 5s".into());
        assert_eq!(judge(&check, CheckOutcome::TimedOut), told);
    }
}
