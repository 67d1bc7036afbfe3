//! A caller that sends single readings while something is wrong, and writes down every answer.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use sluicegate_proto::v1::{SensorReading, sensor_service_client::SensorServiceClient};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Endpoint};

const PAUSE: Duration = Duration::from_millis(100);
/// Beyond this the service has not answered at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How often each code was the answer.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<String, u32>);

impl Answers {
    pub(crate) fn told(&self, code: Code) -> u32 {
        self.0.get(&format!("{code:?}")).copied().unwrap_or(0)
    }

    /// What is no answer to a sound reading: it is stored, or it can be sent again.
    pub(crate) fn wrong(&self) -> u32 {
        let fair = [Code::Ok, Code::Unavailable, Code::ResourceExhausted];
        let fair = fair.map(|code| self.told(code));
        self.0.values().sum::<u32>() - fair.iter().sum::<u32>()
    }
}

pub(crate) struct Probe {
    end: CancellationToken,
    task: JoinHandle<Result<Answers>>,
}

impl Probe {
    pub(crate) fn start(grpc: SocketAddr) -> Self {
        let end = CancellationToken::new();
        let task = tokio::spawn(ask(grpc, end.clone()));
        Self { end, task }
    }

    /// Stops asking. A wrong answer fails.
    pub(crate) async fn end(self) -> Result<Answers> {
        self.end.cancel();
        let answers = self.task.await??;
        ensure!(
            answers.wrong() == 0,
            "a wrong error for a sound reading: {answers:?}"
        );
        Ok(answers)
    }
}

/// The code with which one reading is answered.
pub(crate) async fn send(grpc: SocketAddr) -> Result<Code> {
    let channel = Endpoint::from_shared(format!("http://{grpc}"))?.connect_lazy();
    let reading = SensorReading {
        sensor_value: Some(1.0),
        sensor_type: "probe".to_owned(),
        id1: -1,
        id2: "probe".to_owned(),
        timestamp_us: Some(chrono::Utc::now().timestamp_micros()),
    };
    let mut client = SensorServiceClient::new(channel);
    let answer = tokio::time::timeout(ANSWER_LIMIT, client.send_sensor_reading(reading)).await?;
    Ok(answer.map_or_else(|status| status.code(), |_| Code::Ok))
}

async fn ask(grpc: SocketAddr, end: CancellationToken) -> Result<Answers> {
    let mut answers = Answers::default();
    while !end.is_cancelled() {
        let code = send(grpc).await?;
        *answers.0.entry(format!("{code:?}")).or_default() += 1;
        sleep(PAUSE).await;
    }
    Ok(answers)
}
