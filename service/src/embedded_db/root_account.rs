//! The account of the database's administrator. Whoever can reach the server needs its password, and that stands in a file
//! which only the owner of the data directory can read.

use std::{
    fmt,
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use mysql_async::{Conn, prelude::Queryable as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{Rng as _, distr::Alphanumeric};

use super::{EmbeddedDbError, privacy::private_file};

/// 24 characters of 62 are 142 bits. All four kinds of characters are in it, as a server may ask for.
const RANDOM_CHARACTERS: usize = 24;
const PREFIX: &str = "Sg1-";
/// What a server says of an account that is not there.
const CANNOT_USER: u16 = 1396;

/// root, by its password.
pub(super) struct RootAccount {
    password: String,
}

/// A password belongs in no log.
impl fmt::Debug for RootAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootAccount")
    }
}

impl RootAccount {
    /// Takes the password that stands in `client_options`, or a new one, and writes that file: `mariadb` and `mysql` read
    /// it with `--defaults-file`.
    pub(super) fn keep(client_options: &Path, socket: &Path) -> Result<Self, EmbeddedDbError> {
        let mut found = Vec::new();
        private_file(client_options)
            .and_then(|mut file| file.read_to_end(&mut found))
            .map_err(EmbeddedDbError::io(client_options))?;
        let found = String::from_utf8_lossy(&found);
        let password = password_in(&found).map_or_else(new_password, str::to_owned);
        let socket = socket.to_string_lossy().replace('\\', "\\\\");
        let text = format!("[client]\nuser=root\npassword={password}\nsocket=\"{socket}\"\n");
        write_private(client_options, &text)?;
        Ok(Self { password })
    }

    /// Writes what the server does before it takes its first connection: root gets its password, also in a database
    /// that was made when it had none.
    pub(super) fn write_init(&self, path: &Path, by_tcp: bool) -> Result<(), EmbeddedDbError> {
        let password = &self.password;
        // Where names are not resolved, root@localhost is who comes by the socket, and nobody who comes by TCP.
        let mut text = format!("ALTER USER root@localhost IDENTIFIED BY '{password}';\n");
        if by_tcp {
            text += &format!(
                "CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '{password}';\n\
                 GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
            );
        }
        for host in ["127.0.0.1", "::1"] {
            text += &format!("ALTER USER IF EXISTS root@'{host}' IDENTIFIED BY '{password}';\n");
        }
        write_private(path, &text)
    }

    /// Gives the password to the roots of other addresses, too. One of a host's name, as `mariadb-install-db` makes it,
    /// does not exist for a server that resolves no names: it lets nobody in, and cannot be altered.
    pub(super) async fn secure(&self, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        let others = "SELECT Host FROM mysql.user WHERE User = 'root' \
                      AND Host NOT IN ('localhost', '127.0.0.1', '::1')";
        let hosts: Vec<String> = conn.query(others).await?;
        for host in hosts {
            let statement = format!(
                "ALTER USER root@{} IDENTIFIED BY '{}'",
                mysql_async::Value::from(host).as_sql(false),
                self.password
            );
            match conn.query_drop(statement).await {
                Err(mysql_async::Error::Server(error)) if error.code == CANNOT_USER => {}
                altered => altered?,
            }
        }
        Ok(())
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// `root:password`, as the address of a database has it.
    pub(super) fn user_info(&self) -> String {
        let password = utf8_percent_encode(&self.password, NON_ALPHANUMERIC);
        format!("root:{password}")
    }
}

/// The password, if the file has one that we could have made.
fn password_in(text: &str) -> Option<&str> {
    let password = text
        .lines()
        .find_map(|line| line.strip_prefix("password="))?;
    let random = password.strip_prefix(PREFIX)?;
    let is_ours = random.len() == RANDOM_CHARACTERS
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_ours.then_some(password)
}

fn new_password() -> String {
    let random = rand::rng().sample_iter(Alphanumeric);
    let random: String = random.take(RANDOM_CHARACTERS).map(char::from).collect();
    format!("{PREFIX}{random}")
}

/// Leaves a file alone that has the text already: a restart may have to do without any room on the disk.
fn write_private(path: &Path, text: &str) -> Result<(), EmbeddedDbError> {
    let write = || {
        let mut file = private_file(path)?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        if found != text.as_bytes() {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    };
    write().map_err(EmbeddedDbError::io(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_password_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let (path, socket) = (dir.path().join("client.cnf"), Path::new("/tmp/s.sock"));
        let first = RootAccount::keep(&path, socket).expect("made");
        assert_eq!(first.password().len(), PREFIX.len() + RANDOM_CHARACTERS);
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = RootAccount::keep(&path, socket).expect("read");
        assert_eq!(again.password(), first.password());
        assert!(!format!("{first:?}").contains(first.password()));

        let other = dir.path().join("other.cnf");
        let other = RootAccount::keep(&other, socket).expect("made");
        assert_ne!(other.password(), first.password());
    }

    #[test]
    fn a_password_that_is_not_ours_is_replaced() {
        for text in [
            "",
            "password=\n",
            "password=Sg1-short\n",
            "password=a'; DROP USER root;\n",
        ] {
            assert_eq!(password_in(text), None, "{text}");
        }
    }
}
