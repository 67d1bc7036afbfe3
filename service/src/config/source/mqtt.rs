//! Settings of a source that is MQTT.

use serde::{Deserialize, Serialize};

use super::{
    Secret,
    brokers::{BrokerTls, host_and_port, is_here},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// The broker as HOST:PORT. It has to speak MQTT 5.
    pub broker: String,
    /// Filters of topics, such as `plant/+/temperature`.
    pub topics: Vec<String>,
    /// The name of a shared subscription: instances of one group share the messages. Without it each gets all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Names the session, which no other client may have. Without it, made of the names of host and source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How long the broker keeps messages while the service is away, s.
    #[serde(default = "default_session_expiry_s")]
    pub session_expiry_s: u32,
    /// Messages that the broker may send before they are stored.
    #[serde(default = "default_receive_maximum")]
    pub receive_maximum: u16,
    /// The largest message, bytes. Brokers drop larger ones.
    #[serde(default = "default_max_packet_bytes")]
    pub max_packet_bytes: u32,
    /// How often it is shown that both are there, s.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BrokerTls>,
}

fn default_session_expiry_s() -> u32 {
    7 * 24 * 60 * 60
}

fn default_receive_maximum() -> u16 {
    1_000
}

fn default_max_packet_bytes() -> u32 {
    1 << 20
}

fn default_keep_alive_s() -> u16 {
    30
}

impl MqttSettings {
    /// The key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let refused = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
        if host_and_port(&self.broker).is_none() {
            return refused("broker", "it takes HOST:PORT");
        }
        if self.topics.is_empty() {
            return refused("topics", "it takes a list of filters of topics");
        }
        if let Some(wrong) = self.topics.iter().find(|it| !is_filter(it)) {
            let reason = format!(
                "{wrong:?} is no filter: levels end with /, + stands for one of them, # for all that follow, and a shared \
                 subscription is mqtt.group"
            );
            return Err(("topics".to_owned(), reason));
        }
        let is_name = |name: &String| !name.is_empty() && !name.contains(['/', '+', '#']);
        if !self.group.as_ref().is_none_or(is_name) {
            return refused("group", "it takes a name without /, + and #");
        }
        if self
            .client_id
            .as_ref()
            .is_some_and(|id| id.is_empty() || id.len() > 128)
        {
            return refused("client_id", "it takes 1 to 128 bytes");
        }
        if self.session_expiry_s == 0 {
            return refused("session_expiry_s", "it takes 1 to 4294967295");
        }
        if self.receive_maximum == 0 {
            return refused("receive_maximum", "it takes 1 to 65535");
        }
        if !(1 << 10..=1 << 28).contains(&self.max_packet_bytes) {
            return refused("max_packet_bytes", "it takes 1024 to 268435456");
        }
        if !(5..=3_600).contains(&self.keep_alive_s) {
            return refused("keep_alive_s", "it takes 5 to 3600");
        }
        if self.username.is_none() && self.password.is_some() {
            return refused("username", "a password belongs to a name");
        }
        BrokerTls::check(self.tls.as_ref())?;
        if self.password.is_some() && self.tls.is_none() && !is_here(&self.broker) {
            return refused(
                "tls",
                "the password is sent as it is: a broker that is not on this host takes mqtt.tls",
            );
        }
        Ok(())
    }
}

fn is_filter(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    let last = levels.len() - 1;
    let is_level = |(at, level): (usize, &&str)| match *level {
        "#" => at == last,
        "+" => true,
        level => !level.contains(['+', '#', '\0']),
    };
    (1..=65_535).contains(&filter.len())
        && !filter.starts_with("$share/")
        && levels.iter().enumerate().all(is_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let checked = |more: &str| {
            let text = format!("{{broker: 'localhost:1883', topics: [plant/#], {more}}}");
            let settings: MqttSettings = serde_norway::from_str(&text).unwrap();
            settings.check().map_err(|(key, _)| key)
        };
        for (more, key) in [
            ("group: a/b", "group"),
            ("group: ''", "group"),
            ("client_id: ''", "client_id"),
            ("session_expiry_s: 0", "session_expiry_s"),
            ("receive_maximum: 0", "receive_maximum"),
            ("max_packet_bytes: 1", "max_packet_bytes"),
            ("keep_alive_s: 1", "keep_alive_s"),
            ("password: {env: P}", "username"),
            ("tls: {cert: c}", "tls"),
        ] {
            assert_eq!(checked(more), Err(key.to_owned()), "{more}");
        }
        assert_eq!(checked("group: plant"), Ok(()));
        let far = "{broker: 'a.example:1883', topics: [t], username: u, password: {env: P}}";
        let settings: MqttSettings = serde_norway::from_str(far).unwrap();
        assert_eq!(settings.check().unwrap_err().0, "tls");
    }

    #[test]
    fn a_filter_has_its_wildcards_in_levels_of_their_own() {
        for filter in ["a", "a/+/b", "#", "+", "a/#", "/a", "$SYS/#"] {
            assert!(is_filter(filter), "{filter}");
        }
        for other in ["", "a+", "a/#/b", "a#", "$share/g/a", "a/b+"] {
            assert!(!is_filter(other), "{other}");
        }
    }
}
