//! Pods of users: containers that print, programs that are instrumented with an OpenTelemetry SDK whose retries are off, and a
//! backend.

use std::io::Read as _;
use std::net::{IpAddr, TcpStream};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use pods::oracle::{Run, Seen};

use super::installed::Manager;
use crate::installation::{PEER, POD};

const SHOP: &str = include_str!("../manifests/shop.yaml");

/// Where somebody connects to end a client, and where a backend tells what came.
const END: u16 = 7000;
const ASKED: u16 = 7001;

/// A pod that sends until it is told to end.
pub(super) struct Client<'m> {
    manager: &'m Manager,
    namespace: String,
    name: String,
}

/// A pod that takes OTLP, behind a Service.
pub(super) struct Backend<'m> {
    manager: &'m Manager,
    namespace: String,
    /// Its address as pipelines write it.
    pub(super) endpoint: String,
}

/// What a client has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Records that it has made.
    pub(super) records: usize,
    /// Exports that have failed, each with its records.
    pub(super) failed: usize,
}

impl<'m> Client<'m> {
    /// Starts one: `signal` is logs, metrics or traces, `way` grpc or http, `rate` records a second.
    pub(super) async fn start(manager: &'m Manager, namespace: &str, signal: &str, way: &str, rate: u32) -> Self {
        let name = format!("client-{signal}-{way}");
        let port = if way == "grpc" { 4317 } else { 4318 };
        let argument = format!("send={signal}:{way}:{rate}:http://telemetry-otlp-{signal}.telemetry-system:{port}");
        let text = pod(namespace, &name, &argument, "");
        manager.apply(&text).await;
        Self { manager, namespace: namespace.to_owned(), name }
    }

    /// Ends it, and says what it has done.
    pub(super) async fn end(self) -> Sent {
        let address = address(self.manager, &self.namespace, &self.name).await;
        TcpStream::connect((address, END)).unwrap_or_else(|error| panic!("{} at {address}: {error}", self.name));
        let pods: Api<Pod> = Api::namespaced(self.manager.client.clone(), &self.namespace);
        let look = async || {
            let text = pods.logs(&self.name, &LogParams::default()).await.unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("made "))?;
            let (records, failed) = line.split_once(" failed ").unwrap();
            let sent = Sent { records: records.parse().unwrap(), failed: failed.parse().unwrap() };
            assert_eq!(sent.failed, 0, "exports of {} have failed:\n{text}", self.name);
            Some(sent)
        };
        self.manager.until(&format!("{} says what it has sent", self.name), look).await
    }
}

impl<'m> Backend<'m> {
    /// Starts one.
    pub(super) async fn start(manager: &'m Manager, namespace: &str) -> Self {
        let backend = Self::away(manager, namespace).await;
        backend.come().await;
        backend
    }

    /// One that has no pod yet.
    pub(super) async fn away(manager: &'m Manager, namespace: &str) -> Self {
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: backend, namespace: {namespace} }}\nspec:\n  \
             selector: {{ app: backend }}\n  ports: [{{ port: 4317 }}]\n"
        );
        manager.apply(&service).await;
        Self { manager, namespace: namespace.to_owned(), endpoint: format!("http://backend.{namespace}:4317") }
    }

    /// Gives it its pod.
    pub(super) async fn come(&self) {
        let probe = "readinessProbe: { tcpSocket: { port: 4317 }, periodSeconds: 1 }";
        self.manager.apply(&pod(&self.namespace, "backend", &format!("backend=4317:{ASKED}"), probe)).await;
        let wait = ["--namespace", &self.namespace, "wait", "--for=condition=Ready", "pod/backend", "--timeout=120s"];
        self.manager.kubectl(&wait).await;
    }

    /// What came so far.
    pub(super) async fn runs(&self) -> Vec<Run> {
        let address = address(self.manager, &self.namespace, "backend").await;
        let mut text = String::new();
        TcpStream::connect((address, ASKED)).unwrap().read_to_string(&mut text).unwrap();
        serde_json::from_str::<Seen>(&text).unwrap().runs()
    }
}

/// Has two containers, `web` and `proxy`, print so many lines each on every node, so many a second.
pub(super) async fn print(manager: &Manager, namespace: &str, lines: usize, rate: u32) {
    let (lines, rate) = (lines.to_string(), rate.to_string());
    let values = [("{namespace}", namespace), ("{image}", POD), ("{lines}", &lines), ("{rate}", &rate)];
    let text = values.iter().fold(SHOP.to_owned(), |text, (key, value)| text.replace(key, value));
    manager.apply(&text).await;
}

/// The address of a pod, as soon as it runs.
async fn address(manager: &Manager, namespace: &str, name: &str) -> IpAddr {
    let look = async || {
        let pod = manager.get("pod", namespace, name).await?;
        let is_ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        pod["status"]["podIP"].as_str().filter(|_| is_ready).map(|text| text.parse().unwrap())
    };
    manager.until(&format!("the pod {name} runs"), look).await
}

fn pod(namespace: &str, name: &str, argument: &str, probe: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ app: {name} }} }}\nspec:\n  \
         automountServiceAccountToken: false\n  terminationGracePeriodSeconds: 0\n  containers:\n    - name: peer\n      \
         image: {PEER}\n      imagePullPolicy: Never\n      args: [{argument:?}]\n      {probe}\n"
    )
}
