//! The library says of names what the controller says.

use std::fs;

use cim_e2e::lab::Lab;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};

use super::{
    Try,
    library::Library,
    question::{Question, questions},
};
use crate::harness::Outcome;

/// So many hierarchies are compared, the same ones in each run.
const HIERARCHIES: usize = 1000;
/// So often a difference is asked for in a smaller hierarchy; each time costs a run of Nix.
const MAX_SHRINKS: usize = 200;

pub(crate) async fn names_mean_the_same_as_to_the_controller(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-names")?;
    let mut runner = TestRunner::deterministic();
    let mut trees = (0..HIERARCHIES)
        .map(|_| questions().new_tree(&mut runner).map_err(|why| why.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let asked: Vec<_> = trees.iter().map(ValueTree::current).collect();
    let answers = answers(&library, &asked.iter().collect::<Vec<_>>())?;
    let differing = asked
        .iter()
        .zip(&answers)
        .position(|(question, got)| difference(&question.answers(), got).is_some());
    if let Some(index) = differing {
        let tree = trees.swap_remove(index);
        return Err(smallest(&library, tree)?.into());
    }
    let count = |part: &str| -> usize {
        answers.iter().map(|answer| answer[part].as_object().map_or(0, serde_json::Map::len)).sum()
    };
    let length = |part: &str| -> usize {
        answers.iter().map(|answer| answer[part].as_array().map_or(0, Vec::len)).sum()
    };
    println!(
        "compared {HIERARCHIES} hierarchies: {} elements, {} addresses, {} roles, {} problems, {} queries, {} written addresses",
        count("elements"),
        count("addresses"),
        count("roles"),
        length("problems"),
        length("answers"),
        length("hosts"),
    );
    Ok(())
}

/// Makes a question on which both differ as small as may be, and shows it.
fn smallest(library: &Library<'_>, mut tree: impl ValueTree<Value = Question>) -> Try<String> {
    let mut found = tree.current();
    let mut moved = tree.simplify();
    for _ in 0..MAX_SHRINKS {
        if !moved {
            break;
        }
        let candidate = tree.current();
        if difference_on(library, &candidate)?.is_some() {
            found = candidate;
            moved = tree.simplify();
        } else {
            moved = tree.complicate();
        }
    }
    let why = difference_on(library, &found)?.unwrap_or_default();
    let shown = serde_json::to_string_pretty(&found.to_json())?;
    Ok(format!("the Nix library and cim-names differ: {why}\nof\n{shown}"))
}

fn difference(want: &Value, got: &Value) -> Option<String> {
    let (want, got) = (comparable(want), comparable(got));
    let parts = want.as_object()?;
    let part = parts.iter().find(|(part, value)| **value != got[part.as_str()])?;
    let (name, value) = part;
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    Some(format!("{name}\ncim-names: {}\nnix/lib: {}", pretty(value), pretty(&got[name.as_str()])))
}

/// Without the messages about text of other scripts: there the library asks for A-labels first.
fn comparable(answers: &Value) -> Value {
    let mut answers = answers.clone();
    for problem in answers["problems"].as_array_mut().into_iter().flatten() {
        if !problem["message"].as_str().is_some_and(str::is_ascii) {
            problem["message"] = json!(null);
        }
    }
    answers
}

fn answers(library: &Library<'_>, questions: &[&Question]) -> Try<Vec<Value>> {
    let asked: Vec<_> = questions.iter().map(|question| question.to_json()).collect();
    fs::write(library.dir.join("questions.json"), serde_json::to_vec(&asked)?)?;
    let answers = library.evaluate(
        "import ./nix-lib/compare.nix { lib = ./cim/nix/lib; questions = ./questions.json; }",
    )?;
    match answers {
        Value::Array(answers) if answers.len() == questions.len() => Ok(answers),
        other => Err(format!("{} questions, and the answer {other}", questions.len()).into()),
    }
}

/// The first part in which the answers differ.
fn difference_on(library: &Library<'_>, question: &Question) -> Try<Option<String>> {
    let got = answers(library, &[question])?.pop().unwrap_or_default();
    Ok(difference(&question.answers(), &got))
}
