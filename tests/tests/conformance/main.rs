//! OTLP conformance: the real program between raw clients and a scripted backend, case by case.
//!
//! Every case is a test whose name begins with its id, and runs for every signal and every transport that it concerns:
//! gRPC, HTTP with protobuf, HTTP with JSON. Where the specification (OTLP 1.11) leaves a choice, or we do not do what a
//! reader may expect, the table says what we do and why. Levels are those of the specification.
//!
//! # Server
//!
//! | id | case | what we answer |
//! |---|---|---|
//! | S1 | gRPC export (MUST) | OK, `partial_success` unset |
//! | S2 | HTTP with protobuf (MUST) | 200, protobuf response, `partial_success` unset |
//! | S3 | HTTP with JSON on the same port (SHOULD) | 200, `{}` |
//! | S4 | parameters and case of media types | 200 |
//! | S5 | empty message (SHOULD) | success, nothing is passed on; no bytes at all with JSON are no JSON: 400 |
//! | S6 | envelopes without records (MAY drop) | success, dropped |
//! | S7 | no or another media type | 415 with a Status in protobuf and `accept`, as nothing says what the client reads |
//! | S8 | method, path (MUST) | 405 with `allow`, 404, both with a Status |
//! | S9 | malformed protobuf (MUST) | INVALID_ARGUMENT or 400, BadRequest names the field |
//! | S10 | malformed JSON, duplicate keys, trailing bytes | 400 |
//! | S11 | encoding of errors (MUST) | that of the request; details stand in protobuf only, because `Any` has no JSON that every client reads |
//! | S12 | gzip over HTTP (MUST) | 200 |
//! | S13 | gzip over gRPC (MUST) | OK |
//! | S14 | zstd | 200 or OK; windows above 8 MiB are refused on both |
//! | S15 | unknown encoding | 415 with `accept-encoding`; UNIMPLEMENTED with `grpc-accept-encoding`; nested encodings count as unknown |
//! | S16 | broken gzip | 400 or INVALID_ARGUMENT; several members are one body |
//! | S17 | at the limit and one byte over (MUST) | 200, 413 |
//! | S18 | bomb over HTTP | 413, at most two limits of memory |
//! | S19 | bomb over gRPC (MUST) | RESOURCE_EXHAUSTED without RetryInfo |
//! | S20 | default limit (RECOMMENDED) | 64 MiB, `max_request_size` |
//! | S21 | wrong Content-Length, chunks | 408 or 400, never a hang; chunks 200 |
//! | S22 | hexadecimal ids (MUST) | either case, exact |
//! | S23 | ids in base64 or broken | 400: a request that is not OTLP/JSON is refused as a whole; hexadecimal of a wrong length is S35 |
//! | S24 | empty and zero ids | passed on as they are and counted; meaning is for whoever stores them |
//! | S25 | enumerations | numbers; names are 400, OTLP/JSON has none |
//! | S26 | unknown number of an enumeration | passed on |
//! | S27 | unknown fields (MUST) | ignored in JSON; passed on in protobuf, but for fields of the request itself |
//! | S28 | snake_case | success with a warning that names the key, also in the log and the counters |
//! | S29 | 64-bit integers (MUST) | numbers and texts, exact |
//! | S30 | doubles | exact, with NaN, infinities and negative zero |
//! | S31 | base64 | both alphabets, padded or not |
//! | S32 | null | unset |
//! | S33 | kinds of values (MUST) | all, unset and empty ones too |
//! | S34 | nesting | as deep as every receiver decodes (32 maps, 48 lists), deeper is 400 |
//! | S35 | some records invalid (MUST) | a record with an id of a wrong length is rejected and the rest delivered; what a backend rejects is passed on as `rejected_*`, with `acknowledge = "delivered"` |
//! | S36 | warning (MUST) | rejected 0 and the message, from the backend as well |
//! | S37 | overload (SHOULD) | UNAVAILABLE with RetryInfo, 503 (never 429) with Retry-After in whole seconds |
//! | S38 | buffer full, backend away | the same, after at most 5 s |
//! | S39 | shutdown | GOAWAY or `connection: close`, requests under way are answered |
//! | S40 | credentials | UNAUTHENTICATED or 401 with `www-authenticate`, before the body is read; never 403 |
//! | S41 | final refusal of the backend | INVALID_ARGUMENT or 400; RESOURCE_EXHAUSTED or 413 when it was the size |
//! | S42 | huge messages (MUST) | 1 KiB at most |
//! | S43 | `accept-encoding` (MAY) | answers are a few bytes and not compressed |
//! | S44 | 1000 streams | all answered, 200 at a time |
//! | S45 | cancelled call | memory given back; the record is counted once, delivered or returned |
//! | S46 | pings, idleness | pings are answered without end; idle connections end after 3 min (`idle_timeout`) and HTTP/1 after 30 s |
//! | S47 | versions of HTTP | HTTP/1.0, HTTP/1.1, HTTP/2 without TLS, `expect: 100-continue` |
//! | S48 | CORS | none by default; with `http.cors` 204 for the origins it names, 403 for others |
//! | S49 | profiles | 404, UNIMPLEMENTED |
//! | S50 | unknown method | UNIMPLEMENTED |
//! | S51 | one port for both (MAY) | not offered: each port says what it speaks |
//!
//! # Client
//!
//! | id | case | what we do |
//! |---|---|---|
//! | K1 | success | counted as delivered |
//! | K2 | partial success (MUST NOT retry) | rejected records are counted as dropped, reason `partial` |
//! | K3 | warning | delivered; the message is the sink's last error |
//! | K4 | codes of gRPC | the six retryable ones are retried, no other |
//! | K5 | RESOURCE_EXHAUSTED | alone: final, above 16 KiB sent in halves; with RetryInfo: retried after it |
//! | K6 | RetryInfo | never sooner |
//! | K7 | statuses of HTTP (MUST NOT retry others) | 429, 502, 503, 504 |
//! | K8 | Retry-After | seconds and dates, at most 5 min; anything else is the usual pause |
//! | K9 | 400 with a Status | dropped, its message is the sink's last error |
//! | K10 | 413 | final for one record, else sent in halves |
//! | K11 | unreadable answers (MUST limit) | 4 MiB are read; final, because the data may have been taken; an empty body is an empty message |
//! | K12 | broken connections (SHOULD) | retried |
//! | K13 | refused connections (MUST jitter) | pauses double to 5 s, half of each by chance, whatever `retry` says |
//! | K14 | silent backend | ends with `timeout`, retried; others are not affected |
//! | K15 | own limit (MUST) | split before it is sent; a larger record is counted as `too_large` |
//! | K16 | two destinations (SHOULD) | own queues and ledgers |
//! | K17 | compression | named; a refusal is final and degrades the sink |
//! | K18 | JSON | hexadecimal ids, numbers for enumerations, texts for 64-bit integers, lowerCamelCase, no empty envelopes |
//! | K19 | redirects | not followed; the target is named |
//! | K20 | certificates | new ones and new authorities without a restart, the latter within 10 s; expired and misnamed ones are not trusted; never in clear |
//! | K21 | GOAWAY | sent once more elsewhere, nothing is lost |
//! | K22 | false success | none is believed; final, as for K11 |
//! | K23 | addresses of a name | resolved again every 30 s; connections go to the next address in turn, with `spread` requests take turns |
//! | K24 | shutdown | within the grace; then waiting clients are told to come again, and what a memory buffer held is counted as lost: there is no buffer that outlives the process |
//!
//! # Round trip
//!
//! `golden`: requests that use every field of the protocol arrive unchanged, whichever way they come in and leave.
//!
//! Not here: the same rules by the unit (`transport`, `otlp`), and what happens under load (`delivery`).
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod client;
mod coverage;
mod golden;
mod harness;
mod server;
