//! The scripts, and calls of them.

use redis::{
    FromRedisValue as _, RedisError, Script, ToRedisArgs, Value, aio::MultiplexedConnection,
};

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(
            include_str!("scripts/common.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        ))
    };
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) look: Script,
    pub(super) fill: Script,
    pub(super) join: Script,
    pub(super) push: Script,
    pub(super) repair: Script,
    pub(super) begin: Script,
    pub(super) end: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            look: script!("look"),
            fill: script!("fill"),
            join: script!("join"),
            push: script!("push"),
            repair: script!("repair"),
            begin: script!("begin"),
            end: script!("end"),
        }
    }
}

/// A call under construction.
pub(super) struct Call<'s> {
    script: &'s Script,
    arguments: redis::ScriptInvocation<'s>,
}

impl<'s> Call<'s> {
    pub(super) fn new(script: &'s Script, prefix: &str) -> Self {
        Self {
            script,
            arguments: script.arg(prefix),
        }
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.arguments.arg(argument);
        self
    }

    pub(super) async fn run(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Value, RedisError> {
        tracing::trace!(script = self.script.get_hash(), "the cache is asked");
        let answer: Value = self.arguments.invoke_async(connection).await?;
        Value::from_redis_value(answer).map_err(Into::into)
    }
}
