//! The fixtures of the kinds' rules, against the API server that has to keep them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cim_e2e::lab::Lab;
use serde_json::json;

use crate::harness::Outcome;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/tests/fixtures");
/// Where objects are only tried.
const TRIED: &str = "crds";

/// A file of fixtures: the object, or the object before and after an update.
struct Fixture {
    path: PathBuf,
    name: String,
    /// What the refusal must say; none if it must be accepted.
    message: Option<String>,
    documents: Vec<String>,
}

pub(crate) async fn every_rule_is_kept_by_the_api_server(lab: &Lab) -> Outcome {
    prepare(lab).await?;
    let fixtures = fixtures()?;
    let single: Vec<_> = fixtures.iter().filter(|it| it.documents.len() == 1).collect();
    let pairs: Vec<_> = fixtures.iter().filter(|it| it.documents.len() == 2).collect();
    assert!(single.len() > 100 && pairs.len() > 10, "the fixtures were not found");
    let mut wrong = Vec::new();

    let said = write(lab, "single", single.iter().map(|it| (it.name.clone(), &it.documents[0])))?;
    let said = kubectl(lab, &["create", "--dry-run=server", "--namespace", TRIED, "-f"], &said)?;
    wrong.extend(single.iter().filter_map(|fixture| fixture.judge(&said)));

    // Each pair in a namespace of its own: all fixtures of a kind have the same name.
    let spaces: Vec<_> = (0..pairs.len()).map(|n| format!("{TRIED}-{n}")).collect();
    let cluster = lab.kubernetes()?.kubectl();
    cluster.apply(&namespaces(&spaces)).await?;
    let placed = |which: usize| {
        pairs.iter().zip(&spaces).map(move |(fixture, space)| {
            let text = &fixture.documents[which];
            (fixture.name.clone(), in_namespace(text, space))
        })
    };
    let (before, after): (Vec<_>, Vec<_>) = (placed(0).collect(), placed(1).collect());
    let before = write(lab, "before", before.iter().map(|(name, text)| (name.clone(), text)))?;
    let said = kubectl(lab, &["create", "-f"], &before)?;
    assert_eq!(said.trim(), "", "the objects before an update are refused");
    let after = write(lab, "after", after.iter().map(|(name, text)| (name.clone(), text)))?;
    let said = kubectl(lab, &["replace", "--dry-run=server", "-f"], &after)?;
    wrong.extend(pairs.iter().filter_map(|fixture| fixture.judge(&said)));

    let gone = ["delete", "namespace", "--wait=false"];
    let words = gone.into_iter().chain(spaces.iter().map(String::as_str));
    cluster.run(&words.collect::<Vec<_>>()).await?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

pub(crate) async fn a_misspelt_field_is_refused(lab: &Lab) -> Outcome {
    prepare(lab).await?;
    let domain = json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Domain", "metadata": {"name": "typo"},
        "spec": {"suffix": "example.com", "sufix": "example.org"},
    });
    let create = ["create", "--dry-run=server", "--namespace", TRIED, "-f", "-"];
    let refused = lab.kubernetes()?.kubectl().run_with_input(&create, &domain.to_string()).await;
    let said = refused.err().ok_or("it was accepted")?.to_string();
    assert!(said.contains("unknown field \"spec.sufix\""), "{said}");
    Ok(())
}

impl Fixture {
    fn read(path: PathBuf) -> std::io::Result<Self> {
        let text = fs::read_to_string(&path)?;
        let part = |name: Option<&std::ffi::OsStr>| {
            name.unwrap_or_default().to_string_lossy().into_owned()
        };
        Ok(Self {
            name: format!(
                "{}-{}",
                part(path.parent().and_then(Path::file_name)),
                part(path.file_name())
            ),
            message: text.lines().find_map(|line| line.strip_prefix("# message: ")).map(Into::into),
            documents: text.split("\n---\n").map(str::to_owned).collect(),
            path,
        })
    }

    /// What is wrong with what was said about it, if anything.
    fn judge(&self, said: &str) -> Option<String> {
        let file = format!("/{}\"", self.name);
        let refusal = said.split("Error from server").find(|refusal| refusal.contains(&file));
        let path = self.path.display();
        match (&self.message, refusal) {
            (None, None) => None,
            (None, Some(refusal)) => Some(format!("{path}: refused: {}", refusal.trim())),
            (Some(message), None) => Some(format!("{path}: accepted; wanted: {message}")),
            (Some(message), Some(refusal)) if refusal.contains(message) => None,
            (Some(message), Some(refusal)) => {
                Some(format!("{path}: wanted: {message}\n  said: {}", refusal.trim()))
            }
        }
    }
}

fn fixtures() -> std::io::Result<Vec<Fixture>> {
    let mut fixtures = Vec::new();
    for kind in fs::read_dir(FIXTURES)? {
        for file in fs::read_dir(kind?.path())? {
            fixtures.push(Fixture::read(file?.path())?);
        }
    }
    Ok(fixtures)
}

async fn prepare(lab: &Lab) -> Outcome {
    let kubectl = lab.kubernetes()?.kubectl();
    for definition in cim_crds::crds() {
        kubectl.apply(&serde_json::to_string(&definition)?).await?;
    }
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
    kubectl.apply(&namespaces(&[TRIED.to_owned()])).await?;
    Ok(())
}

fn namespaces(names: &[String]) -> String {
    let namespace = |name: &String| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let items: Vec<_> = names.iter().map(namespace).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn in_namespace(text: &str, namespace: &str) -> String {
    text.replacen("metadata: {", &format!("metadata: {{namespace: {namespace}, "), 1)
}

/// Writes each text to a file of its own, so that kubectl names it in what it says.
fn write<'t>(
    lab: &Lab,
    dir: &str,
    files: impl Iterator<Item = (String, &'t String)>,
) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    let dir = lab.scratch(&format!("crds/{dir}"))?;
    for (name, text) in files {
        fs::write(dir.join(name), text)?;
    }
    Ok(dir)
}

/// Everything that kubectl says of a directory of files; it goes on after a refusal.
fn kubectl(lab: &Lab, words: &[&str], files: &Path) -> std::io::Result<String> {
    let kubernetes = lab.kubernetes().map_err(std::io::Error::other)?;
    let output = Command::new(lab.inside().tools().program("kubectl"))
        .arg("--kubeconfig")
        .arg(kubernetes.kubeconfig())
        .args(words)
        .arg(files)
        .stdin(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
