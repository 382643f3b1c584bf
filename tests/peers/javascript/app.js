// A program that knows the API of OpenTelemetry only: what the README's lines for JavaScript run.

const http = require("node:http");
const { metrics } = require("@opentelemetry/api");
const { logs } = require("@opentelemetry/api-logs");

metrics.getMeter("hello").createCounter("greetings").add(1);
logs.getLogger("hello").emit({ severityNumber: 13, severityText: "WARN", body: "hello, engine" });
// The requests become spans without a word here.
const server = http.createServer((_, response) => response.end("hello"));
server.listen(0, "127.0.0.1", () => {
  const request = { host: "127.0.0.1", port: server.address().port, path: "/greet" };
  http.get(request, (answer) => answer.resume().on("end", () => server.close()));
});
