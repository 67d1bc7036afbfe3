//! JSON pointers (RFC 6901), all those of a mapping in one tree, so that a payload is walked once.

use crate::fields::MappedField;

/// Where pointers lead. Names of members, and indices of arrays, from the top.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) members: Vec<(String, Node)>,
    /// What is taken from here as text.
    pub(crate) fields: Vec<MappedField>,
    pub(crate) role: Role,
    /// For faults.
    pub(crate) pointer: String,
}

/// What all members of an object, or elements of an array, are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    None,
    Values,
    Tags,
    Records,
}

impl Node {
    /// Where `pointer` leads, made if it is not there.
    ///
    /// # Errors
    /// A sentence that says why it is no pointer.
    pub(crate) fn at(&mut self, pointer: &str) -> Result<&mut Self, String> {
        let mut node = self;
        for token in tokens(pointer)? {
            let at = match node.members.iter().position(|(name, _)| *name == token) {
                Some(at) => at,
                None => {
                    node.members.push((token, Self::default()));
                    node.members.len() - 1
                }
            };
            node = &mut node.members[at].1;
        }
        pointer.clone_into(&mut node.pointer);
        Ok(node)
    }

    /// Whether something is looked for below here.
    pub(crate) fn is_inner(&self) -> bool {
        !self.members.is_empty() || self.role != Role::None
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_inner() && self.fields.is_empty()
    }

    /// A field, and a pointer into what would have to be an object instead.
    pub(crate) fn contradiction(&self) -> Option<(MappedField, &str)> {
        match self.fields.first() {
            Some(&field) if self.is_inner() => Some((field, &self.pointer)),
            _ => self
                .members
                .iter()
                .find_map(|(_, node)| node.contradiction()),
        }
    }
}

/// The names that a pointer goes along.
fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(path) = pointer.strip_prefix('/') else {
        return Err(format!(
            "is `{pointer}`, which is no JSON pointer: it begins with `/`, such as `/{pointer}`"
        ));
    };
    path.split('/')
        .map(|token| match token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1'])) {
            true => Ok(token.replace("~1", "/").replace("~0", "~")),
            false => Err(format!(
                "is `{pointer}`, which is no JSON pointer: `~` is written `~0` in it, and `/` in a name `~1`"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_as_the_rfc_says() {
        for (pointer, expected) in [
            ("", &[][..]),
            ("/", &[""]),
            ("/a/0/b", &["a", "0", "b"]),
            ("/a~1b/m~0n/~01", &["a/b", "m~n", "~1"]),
            ("/ /%25", &[" ", "%25"]),
        ] {
            assert_eq!(tokens(pointer).unwrap(), expected, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_says_why() {
        assert!(tokens("name").unwrap_err().contains("such as `/name`"));
        for pointer in ["/a~", "/a~2", "/~/0", "/a~~0"] {
            assert!(tokens(pointer).unwrap_err().contains("~0"), "{pointer}");
        }
    }

    #[test]
    fn a_text_cannot_be_an_object_too() {
        let mut root = Node::default();
        root.at("/a/b").unwrap().fields.push(MappedField::Id1);
        assert_eq!(root.contradiction(), None);
        root.at("/a").unwrap().fields.push(MappedField::Id2);
        assert_eq!(root.contradiction(), Some((MappedField::Id2, "/a")));
    }
}
