//! What a command is about, in one word or two.

use std::str::FromStr;

use clap::Args;

use crate::{error::Error, kinds::KindArg};

/// Any number of objects: `machine`, `machine host1`, `machine/host1`, `host1`, or nothing for all.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Kind (machine), object (machine/host1) or name (host1) [default: everything]
    #[arg(value_name = "KIND|KIND/NAME|NAME")]
    word: Option<Word>,
    /// Name of one object, after its kind
    #[arg(requires = "word")]
    name: Option<String>,
}

/// One object: `machine host1`, `machine/host1`, or `host1` where only one has that name.
#[derive(Args, Clone, Debug)]
pub(crate) struct One {
    /// Object (machine/host1), its kind (machine), or its name (host1)
    #[arg(value_name = "KIND/NAME|KIND|NAME")]
    word: Word,
    /// Its name, after its kind
    name: Option<String>,
}

/// The same, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Everything.
    All,
    /// All of one kind.
    Kind(KindArg),
    /// One object.
    Object(KindArg, String),
    /// Whatever has that name.
    Name(String),
}

/// A word of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Kind(KindArg),
    Object(KindArg, String),
    Name(String),
}

impl FromStr for Word {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written.split_once('/') {
            Some((_, "")) => Err("the name after the slash is missing".to_owned()),
            Some((kind, name)) => Ok(Self::Object(kind.parse()?, name.to_owned())),
            None => Ok(written.parse().map_or_else(|_| Self::Name(written.to_owned()), Self::Kind)),
        }
    }
}

impl Target {
    /// What is meant.
    pub(crate) fn aim(&self) -> Result<Aim, Error> {
        self.word.as_ref().map_or(Ok(Aim::All), |word| aim(word, self.name.as_deref()))
    }
}

impl One {
    /// What is meant: an object or a name.
    pub(crate) fn aim(&self) -> Result<Aim, Error> {
        match aim(&self.word, self.name.as_deref())? {
            Aim::Kind(kind) => Err(Error::Usage(format!("which {kind}? give its name as well"))),
            aim => Ok(aim),
        }
    }
}

fn aim(word: &Word, name: Option<&str>) -> Result<Aim, Error> {
    match (word, name) {
        (Word::Kind(kind), None) => Ok(Aim::Kind(*kind)),
        (Word::Kind(kind), Some(name)) => Ok(Aim::Object(*kind, name.to_owned())),
        (Word::Object(kind, name), None) => Ok(Aim::Object(*kind, name.clone())),
        (Word::Name(name), None) => Ok(Aim::Name(name.clone())),
        (Word::Object(kind, first), Some(second)) => {
            Err(Error::Usage(format!("{kind}/{first} is one object already; what is {second}?")))
        }
        (Word::Name(first), Some(_)) => {
            let why = first.parse::<KindArg>().err().unwrap_or_default();
            Err(Error::Usage(format!("{first} stands where a kind is expected: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aimed(word: &str, name: Option<&str>) -> Result<Aim, String> {
        aim(&word.parse()?, name).map_err(|error| error.to_string())
    }

    #[test]
    fn one_object_may_be_written_in_three_ways() {
        let host = Aim::Object(KindArg::Machine, "host1".to_owned());
        assert_eq!(aimed("mach", Some("host1")), Ok(host.clone()));
        assert_eq!(aimed("machines/host1", None), Ok(host));
        assert_eq!(aimed("host1", None), Ok(Aim::Name("host1".to_owned())));
        assert_eq!(aimed("cl", None), Ok(Aim::Kind(KindArg::Cluster)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (word, name, why) in [
            ("pod", Some("x"), "no kind of that name"),
            ("pod/x", None, "no kind of that name"),
            ("machine/", None, "missing"),
            ("machine/a", Some("b"), "what is b?"),
        ] {
            let said = aimed(word, name).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
