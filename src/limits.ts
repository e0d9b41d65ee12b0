const KiB = 1024;
const MiB = 1024 * KiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * Every limit of the product, in one place, by the station that has it. The name says the unit: bytes (`…Bytes`),
 * milliseconds (`…Ms`), characters (`…Chars`), octets (`…Octets`), a share from 0 to 1 (`…Share`, `…Jitter`), MiB of memory
 * (`…MiB`); the others are counts. The comment of a limit that an administrator may set names the option.
 */
export const limits = {
  // Messages and envelopes, everywhere

  /** A message after dot-unstuffing; exim-pipe `--max-size`. */
  messageBytes: 100 * MiB,
  /** Recipients in one hand-over, ten times what Exim's transport sends (`batch_max`). */
  handOverRecipients: 10_000,
  /** The addresses of one hand-over by LMTP; enough for all recipients where they are as long as RFC 5321 allows. */
  handOverAddressBytes: 4 * MiB,
  /** An address, in octets of UTF-8 (RFC 5321 4.5.3.1 allows 64 + 1 + 255). */
  addressBytes: 320,
  /**
   * The header section of a message where all of it is read: HTTP v1 on either side, and the Mail API. Where
   * only From is read, that. Twice what Exim takes (`header_maxsize`), so that no mail of Exim meets it.
   */
  headerBytes: 2 * MiB,
  /** A reason in a verdict, in characters; longer ones are cut. */
  reasonChars: 500,
  /** What exim-pipe says of a failure, and foreign text quoted in an error, in characters. */
  failureChars: 400,
  quotedChars: 80,

  // Hand-over: exim-pipe and the LMTP server (intake/)

  /** One line of an envelope, in BSMTP or LMTP; far above RFC 5321's 512, so that Exim never meets it. */
  envelopeLineBytes: 64 * KiB,
  /** exim-pipe reads its input in pieces of this size, and looks again after this time while there is none. */
  inputBytes: 64 * KiB,
  inputPollMs: 5,
  /** Connections that the LMTP server has at once. */
  intakeConnections: 1000,
  /**
   * Bytes of messages that the LMTP server holds in memory. While there are more, only the connection whose message began
   * first goes on: so the largest message fits always, and the others wait.
   */
  intakeBytes: 32 * MiB,
  /** How long a connection may be silent, as RFC 5321 4.5.3.2.7 asks a server to wait. */
  intakeIdleMs: 5 * MINUTE,
  /** The same while other messages wait for the memory that the one under way has. */
  intakeStallMs: 10 * SECOND,
  /** How long a message waits for memory before its client is to try again: less than the 2 minutes that Exim waits. */
  intakeTurnMs: 90 * SECOND,
  /** How long one command may take, and one message, without the time in which we made it wait. */
  intakeCommandMs: 5 * MINUTE,
  intakeMessageMs: 30 * MINUTE,
  /** How often the server looks for connections that take too long, while there are any. */
  intakeLookMs: 1 * SECOND,
  /** Commands of one connection that are refused; one more ends it. */
  intakeRefusals: 20,
  /** After how long without a connection a server ends that systemd starts again with the next one. */
  intakeEndMs: 10 * MINUTE,
  /**
   * While another program writes to the spool, the LMTP server waits this long in one call, in which no client is served.
   * Then it serves its clients, and tries again every busyPollMs, for busyMs in all.
   */
  intakeBusyMs: 50,
  /** For how long the server opens the spool: a repair wants to be alone with it. */
  intakeSpoolMs: 5 * SECOND,
  /** For how long a message that came without an id of its mail server is known by its bytes and its envelope. */
  repeatMs: 1 * HOUR,
  /**
   * How many messages with the same bytes are looked at to find one that was for some of the same recipients: the first by
   * the hash of their recipients, and not the latest.
   */
  repeatsLookedAt: 20,

  // SQLite files: spool and ledger (sqlite/)

  /** How long any writer waits for another one's transaction on the spool or the ledger. */
  busyMs: 20 * SECOND,
  /** How often a program looks again where SQLite does not wait by itself, and where it has other things to do meanwhile. */
  busyPollMs: 20,
  /** How often a writer looks whether another one's transaction has ended. */
  writerPollMs: 2,
  /** The same for drain, which has many others beside it. */
  drainPollMs: 0.25,
  /**
   * The commit that brings the write-ahead log to this size, or to half of what is kept free on a small disk, copies it into
   * the file, and the log is cut back to this. At SQLite's own 4 MB one hand-over in seventy waits for that.
   */
  walBytes: 16 * MiB,
  /** A log that is larger is reported, again every `faultRepeatMs`: some program reads an old state without end. */
  logAlarmBytes: 256 * MiB,
  /** The largest log in which a program that opens the file looks for damage: about 1 s. */
  logLookBytes: 256 * MiB,
  /** What is kept free on the disk: this many bytes or this share, whichever is less, and inodes. exim-pipe ends with 75 below. */
  freeBytesMin: 100_000_000,
  freeShareMin: 0.05,
  freeInodesMin: 100,
  /** Damaged files that repairs keep beside the new one: the first, and the latest. */
  damagedFiles: 3,
  /** Faults that SQLite's own check of a database names. */
  namedFaults: 20,
  /** How often all figures are written down for plots: 60 of them make an hour (sqlite/samples.ts). */
  sampleMs: 1 * MINUTE,

  // Spool (spool/)

  /** The spool stores a message in parts of this size. */
  bodyPartBytes: 1 * MiB,
  /** Drain reads messages of up to this size as it claims them, all by one query, and keeps them in memory. */
  smallBodyBytes: 64 * KiB,
  /** Free pages the spool keeps for its next messages; what is above goes back to the disk. */
  sparePagesBytes: 16 * MiB,
  /** Pages given back, and rows deleted, in one step of house-keeping. */
  vacuumPages: 2000,
  purgeRows: 500,
  /** How often house-keeping begins. */
  housekeepingMs: 10 * MINUTE,
  /** How soon the next step of house-keeping follows while there is more. */
  housekeepingStepMs: 1 * SECOND,
  /** Bodies of failed and bounced messages; rows of finished messages and of the ledger. */
  failedBodyMs: 5 * DAY,
  historyMs: 30 * DAY,
  /** Events in the history of one message: the first and the latest are kept. */
  historyFirst: 10,
  historyLatest: 90,
  /** Recipients of a lost message in one sentence of a repair: each fits in a line. */
  namedLost: 20,

  // Drain: what is in flight, and when it looks (drain/)

  /** How long a drain that starts waits for the lock of its spool. */
  lockMs: 1 * SECOND,
  /** Posts in flight at most, whatever their round trips allow, and bytes of their messages. */
  inFlight: 256,
  inFlightBytes: 64 * MiB,
  /** Messages that drain claims and records in one turn: with more, the proxy would have nothing to do meanwhile. */
  turnMessages: 64,
  /** Fewer posts are in flight only after trouble, or when the proxy has asked for fewer. */
  inFlightMin: 8,
  /** Posts may take twice as long as one alone, and this much longer (drain/concurrency.ts). */
  queuedMs: 50,
  /** How often it is found out anew how long a post takes alone. */
  measureEveryMs: 1 * MINUTE,
  /** While there are fewer posts in flight, those that take longer than `slowPostMs` do not count. */
  inFlightSlow: 64,
  /** Messages that the proxy is still sending when others take their places. */
  asked: 64,
  /** The share of `inFlightBytes` that is left for messages behind one that does not fit. */
  passingShare: 0.1,
  /** Messages looked at behind those that are too large for the bytes left. */
  claimLookAhead: 8,
  /** How long drain sleeps at most: finds the mail of a writer that died before waking it. */
  lookMs: 30 * SECOND,
  /**
   * For how long posts tell the proxy the same length of the queue, and how long after the last post a probe tells it: far
   * less than the hour after which a host counts as missing (debian/examples/alerts.yml).
   */
  queueReportMs: 5 * SECOND,
  tellQueueMs: 15 * MINUTE,
  /** How often systemd is told how a service is doing, at most. */
  statusMs: 1 * SECOND,
  /** How long a stopping program lets its work in flight finish. */
  stopMs: 30 * SECOND,
  /** How long drain waits before it tries again to work on a spool that failed: doubling, and at most. */
  spoolRetryMs: 5 * SECOND,
  spoolRetryMaxMs: 60 * SECOND,
  /** How soon after a repair drain has a spool repaired that is damaged again. */
  repairEveryMs: 10 * MINUTE,
  /** A timer that runs so late was not late: the program was suspended. */
  asleepMs: 1 * SECOND,

  // Drain: when something is tried again, and given up

  /** The endpoint's backoff while it is down; up to `endpointJitter` longer. */
  endpointFirstMs: 1 * SECOND,
  endpointMaxMs: 60 * SECOND,
  endpointJitter: 0.25,
  /** The longest Retry-After that is honoured. */
  retryAfterMaxMs: 10 * MINUTE,
  /**
   * A message that a proxy may have sent without an answer waits for the ledger that this proxy had. When the URL has
   * shown another ledger for so long, the earlier one is lost.
   */
  ledgerGoneMs: 4 * HOUR,
  /**
   * A message's own backoff after temporary verdicts, ± `jitter`: drain `--first-wait`, `--longest-wait`. Both are within
   * `messageWaitMinMs` and `messageWaitMaxMs`: what is deferred is tried once a day.
   */
  messageFirstMs: 30 * SECOND,
  messageMaxMs: 30 * MINUTE,
  messageWaitMinMs: 1 * SECOND,
  messageWaitMaxMs: 1 * DAY,
  jitter: 0.2,
  /** A post that takes longer holds up no other, unless the proxy has asked for fewer posts. */
  slowPostMs: 1 * SECOND,
  /** How long the proxy may ask for fewer posts while none passes, before it counts as down. */
  slowerMaxMs: 1 * HOUR,
  /** A Retry-After of the proxy that is this long or longer is of a quota, and no outage, for `quotaMaxMs` at most. */
  quotaWaitMs: 10 * MINUTE,
  quotaMaxMs: 25 * HOUR,
  /** How often it is told at most that the proxy asks for fewer posts. */
  slowerRepeatMs: 10 * MINUTE,
  /** An operator's fault is told at once and then this often. */
  faultRepeatMs: 1 * HOUR,
  /**
   * How long a message is tried, drain `--lifetime`, and for how long at most outages of the endpoint are added. Together
   * they end before `renewalMs`, and so before the ledger forgets.
   */
  lifetimeMs: 5 * DAY,
  lifetimeMinMs: 1 * HOUR,
  lifetimeMaxMs: 16 * DAY,
  outagesAddedMs: 9 * DAY,
  /** `retry` and `release` of a message first posted longer ago than this ask for --force. */
  renewalMs: 25 * DAY,

  // Reports to senders (drain/reports/)

  /** After how much trouble of its own a message's sender is warned; drain `--delay-warnings`. */
  delayWarnings: '4h,24h',
  /** Reports that a sender gets in an hour; one summary reports the rest. drain `--notices-per-hour`. */
  reportsPerHour: 20,
  reportsHourMs: 1 * HOUR,
  /** Reports that drain looks at in one turn; the next turn goes on. How often it looks while all have to wait. */
  reportsLook: 100,
  reportsLookMs: 1 * SECOND,
  /** Recipients that one summary names; what is more waits for the next. */
  summaryRecipients: 5000,
  /** A report returns a message up to this size, of a larger one its header section, cut to that. */
  returnedBytes: 100_000,
  returnedHeaderBytes: 64 * KiB,
  /** Reports that are submitted at once, each to another sender: one that takes long holds up no other. */
  reportsAtOnce: 5,
  /** How soon the local mail server is asked again while it is away, and gets a report again that it deferred. */
  reportFirstMs: 10 * SECOND,
  reportMaxMs: 15 * MINUTE,
  /**
   * How often a report that is deferred by itself is tried: for 5 days in these steps, then it is dropped. One that may
   * have been taken, because no answer came to the whole of it, uses up `reportUnansweredTries`: five copies at most.
   */
  reportTries: 480,
  reportUnansweredTries: 96,

  // Queue commands (cli/queue/)

  /** How long queue commands wait for the outcome of what is being sent. */
  operatorWaitMs: 30 * SECOND,
  operatorPollMs: 100,
  /** Ids that bash is offered for completion. */
  completedIds: 100,
  /** Messages that queue commands read, and change, at once. */
  listPage: 200,
  operatorBatch: 200,
  /** Messages that the end of a queue command explains one by one. */
  namedMessages: 10,
  /** A line in a file of `queue export`, the longest of which is an address in base64; bytes that are read at once. */
  transferLineBytes: 128 * KiB,
  transferReadBytes: 1 * MiB,
  /** Bytes of messages that `queue import` stores in one transaction. */
  transferBatchBytes: 8 * MiB,
  /** How long one run of Exim may take: it takes back a message, or says how it would route some. */
  eximMs: 5 * MINUTE,
  /** What such a run may say: how it routes the recipients of a hand-over. More ends it. */
  eximOutputBytes: 16 * MiB,
  /** What the process that runs Exim is given in one frame: more than a part of a message and what precedes it. */
  eximFrameBytes: 2 * MiB,
  /** A command of batch SMTP: Exim reads none that is longer (its smtp_cmd_buffer_size), and cannot say which it was. */
  eximCommandBytes: 16_000,

  // Other commands: check, exim (cli/)

  /** How long the fully qualified name of this machine is looked for: `hostname -f` may ask a name server. */
  hostNameMs: 5 * SECOND,
  /** How long a program of the system may take that `exim` and `check` run, such as update-exim4.conf. */
  commandMs: 60 * SECOND,
  /** `check` complains of a message that waits longer. */
  checkAgeMs: 1 * HOUR,
  /** `check` complains of a certificate that is valid for less than this and for less than this share of its life: some live for 160 h. */
  checkCertificateMs: 7 * DAY,
  checkCertificateShare: 0.2,
  /** How long `proxy check` waits for the relay in all: an administrator looks on. */
  checkRelayMs: 60 * SECOND,
  /** How long `check` waits for an answer of the LMTP server, which may have to start. */
  intakeAnswerMs: 20 * SECOND,
  /** How long `check --send` follows a message, and how often it looks. */
  checkSendMs: 60 * SECOND,
  checkLookMs: 50,

  // What is printed, and the journal (host/)

  /**
   * A line that is printed or written into the journal, in characters: with three octets each, half of what
   * journald takes for a line of standard error (LineMax).
   */
  lineChars: 8000,
  /** What systemd is told of a service, in characters: it passes over a datagram of more than 4096 octets. */
  statusChars: 1000,
  /** One value of a field in the journal, in characters. */
  journalValueChars: 1000,
  /**
   * The values of one field in the journal, and their octets. journald drops an entry that has more than 1024 fields,
   * and a datagram of more than net.core.wmem_default (208 KiB) is not sent; no entry has more than three long lists.
   */
  journalValues: 300,
  journalValuesBytes: 40 * KiB,
  /** Recipients that a line of the journal names; its fields have 300. */
  namedRecipients: 10,
  /** Header fields, keys, and senders that one line names. */
  namedHeaders: 20,
  namedKeys: 20,
  namedSenders: 10,

  // Connections (host/net/)

  /**
   * Opening a connection to any server: name, TCP, web proxy and TLS together. A SYN that is lost is sent
   * again after 1, 3, 7 and 15 s (RFC 6298).
   */
  connectMs: 20 * SECOND,
  /** The next address of a name is tried after this time, beside those before it (RFC 8305 5). */
  attemptDelayMs: 250,
  /** How long an address that took a connection and then failed is tried after the other addresses of its name. */
  passedOverMs: 10 * MINUTE,
  /** The path of a Unix socket (sun_path of unix(7), without its NUL). */
  unixPathBytes: 107,
  /** How long a connection is silent before TCP asks whether the other side is still there. */
  keepAliveMs: 60 * SECOND,

  // Posts, on either side (wire/)

  /** Proxies that GMAIL_PROXY_URL may name, and the length of a URL in characters. */
  proxies: 8,
  proxyUrlChars: 2048,
  /** Messages and bytes of a bundle: several posts in one request. A message in it is small (`smallBodyBytes`). */
  bundlePosts: 64,
  bundleBytes: 1 * MiB,
  /** How soon another bundle is tried after one that failed: doubling, and at most. */
  bundleRetryMs: 1 * SECOND,
  bundleRetryMaxMs: 10 * MINUTE,
  /** Recipients that the proxy takes in one post; proxy `--max-recipients`. */
  postRecipients: 100,
  /** One post, connecting included: at least `postBytesPerSecond` besides `postMs`. */
  postMs: 60 * SECOND,
  postBytesPerSecond: 32 * KiB,
  /** The largest answer that is read: the largest envelope again, with a reason for each recipient. */
  answerBytes: 40 * MiB,
  /** A request's line of JSON. */
  envelopeBytes: 8 * MiB,
  /** Clock difference that a signature survives (Standard Webhooks). */
  toleranceMs: 300 * SECOND,
  /** Signatures in a webhook-signature header: a few while a key is exchanged, more is abuse. */
  signatures: 8,
  /** How long the library, the nodemailer transport and gmail wait for verdicts besides the upload; `gmail --timeout`. */
  clientTimeoutMs: 5 * MINUTE,
  clientTimeoutMaxMs: 1 * DAY,
  /** How long a client waits at least before it asks again for what is in progress. */
  askEveryMs: 1 * SECOND,
  /** An idle kept-alive connection: the proxy closes later than its clients, so none is cut. */
  proxyIdleMs: 75 * SECOND,
  clientIdleMs: 30 * SECOND,
  /**
   * How long after it was read a post is answered at the latest: what is still being sent then is in progress.
   * HTTP v1 has no such answer: it waits for almost as long as web servers in front of the proxy are told to.
   */
  answerMs: 45 * SECOND,
  answerV1Ms: 570 * SECOND,

  // HTTP v1 (wire/v1/)

  /** Fields in a form of HTTP v1: no client sends more than three. */
  formFields: 100,
  /** The headers of a part of such a form in multipart. */
  partHeadersBytes: 16 * KiB,
  /** What an answer of HTTP v1 says, in characters. */
  answerChars: 2000,

  // Proxy: requests and keys (proxy/)

  /** Connections that the proxy has open at once: those of a dozen hosts that are far away, each with `inFlight` posts. */
  connections: 4000,
  /** How long the headers of a request may take. */
  headersMs: 20 * SECOND,
  /** How often the proxy looks for connections whose headers take too long. */
  connectionsCheckMs: 1 * SECOND,
  /**
   * All bodies held at once, as they were posted. Each may take its size once more for HTTP v1, or with a sender who was
   * replaced, as the message that is sent on; and while its pieces are put together, where its size was not announced.
   */
  requestsBytes: 512 * MiB,
  /**
   * The first `piecesOfAnySize` pieces of a body (chunks of HTTP, or what one read of the socket gives) may be of any size;
   * for each further one the body has `pieceBytes`. Each takes 1 to 2 µs; one read can have as many as are free.
   */
  pieceBytes: 512,
  piecesOfAnySize: 10_000,
  /** A body whose key nothing hints at is hashed with every key; so much, and others have their turn. */
  hashedAtOnceBytes: 1 * MiB,
  /** So much of a form is decoded, and others have their turn. */
  decodedAtOnceBytes: 1 * MiB,
  /** Lines of the journal about requests without a key of the proxy's, in so long a time; one more counts the rest. */
  unauthenticatedLines: 30,
  unauthenticatedLinesMs: 1 * MINUTE,
  /** Requests of one connection that wait for their answers (RFC 9112 9.3.2); one more ends it. */
  requestsAtOnce: 10,
  /** Retry-After of the proxy when it stops or its ledger or backend fails. */
  proxyRetryAfterMs: 10 * SECOND,
  /** A key that is shorter, in octets, is weak: it works, and each start tells of it. */
  keyOctets: 16,
  /** How often the proxy looks at its file of keys, and leaves it alone after a change: editors take steps. */
  keysLookMs: 1 * SECOND,
  keysSettleMs: 100,

  // Proxy: deliveries and the ledger (proxy/)

  /** How long a delivery may take before its outcome is unknown: more than RFC 5321 allows for 100 recipients. */
  deliveryMs: 12 * HOUR,
  /** How long before its answer a post that was not begun gives up waiting for room at the backend. */
  roomMarginMs: 1 * SECOND,
  /** Retry-After of the proxy when no connection to the relay was free in time. */
  busyRetryAfterMs: 1 * SECOND,
  /** How long a delivery waits at most within --pace before its host is told to post it again. */
  paceWaitMs: 10 * SECOND,
  /** Steps in which the window of a quota slides: what was spent counts for a hundredth longer at most. */
  paceBuckets: 100,
  /** How often the ledger is asked while a quota is used up: another proxy may have given something back. */
  paceAskMs: 1 * MINUTE,
  /** A pause after the provider's own throttling: at first, doubling, and at most, unless the provider asks for more. */
  throttleFirstMs: 2 * SECOND,
  throttleMaxMs: 2 * MINUTE,
  /** The pause where the provider's limit of the day is reached, and it does not say how long to wait. */
  throttleDayMs: 10 * MINUTE,
  /** By how much --pace grows again in a minute after a throttling, and the least of it. */
  throttleShare: 1 / 16,
  /** How long verdicts are kept that came when no client was waiting; what was sent is in the ledger. */
  unheardMs: 10 * MINUTE,
  /** Ranges of ids that a repaired ledger doubts; with more it doubts all. */
  ledgerGaps: 20,
  /** How often the proxy keeps what it counts in the ledger. */
  keepFiguresMs: 10 * SECOND,
  /** How often it notes in a shared ledger that its figures are in use; after historyMs they are forgotten. */
  figuresUsedMs: 1 * DAY,
  /** Recipients listed as unknown that are counted. */
  unknownCounted: 10_000,

  // Progress of commands on a terminal (host/progress.ts)

  /** What takes less is not shown; how often it is drawn; and how many of these draws make the rate for the time left. */
  progressAfterMs: 500,
  progressMs: 200,
  progressRates: 50,

  // Views: metrics and what is made of them (watch/)

  /** Connections to the listener of metrics at once. */
  metricsConnections: 20,
  /** Messages that `queue shape` reads at once; names that it counts apart, and lines that it shows. */
  shapePage: 2000,
  shapeNames: 10_000,
  shapeRows: 20,
  /** `queue report`: lines of a list, and characters of a reason by which reasons are told apart. */
  reportRows: 10,
  reportReasonChars: 100,
  /** `queue top`: how often it looks, over which times rates are shown and the end is estimated, and events. */
  topMs: 1 * SECOND,
  nowRateMs: 10 * SECOND,
  etaRateMs: 5 * MINUTE,
  topEvents: 8,
  /** The page: lines of a table, hosts of a proxy, and the age of the oldest mail that is marked. */
  pageRows: 20,
  pageHosts: 1000,
  oldMailMs: 1 * HOUR,
  /** How often the figures are read for those who ask, at most. */
  viewEveryMs: 1 * SECOND,

  // Proxy: a ledger in PostgreSQL (proxy/ledger/postgres/)

  /** How long opening a connection to the server may take, and a statement: on the server, and until its answer is here. */
  databaseConnectMs: 10 * SECOND,
  databaseStatementMs: 10 * SECOND,
  databaseAnswerMs: 15 * SECOND,
  /** How long a proxy may take to find or make its tables and to take its locks: several statements, each of which may wait. */
  databaseOpenMs: 2 * MINUTE,
  /** How soon a server that was lost, or that was not there at the start, is tried again. */
  databaseRetryMs: 1 * SECOND,
  /** The server asks after a silent connection when it was silent for so long, then as often, and gives it up after so many. */
  databaseIdleMs: 10 * SECOND,
  databaseProbes: 3,
  /**
   * How long the server's plan of a statement is used, before it is made anew for the size that the tables have then. In this
   * time a ledger that was empty can grow: it is slower meanwhile.
   */
  databasePlanMs: 10 * SECOND,
  /** Recipients, or messages without any, that one statement writes or looks up. */
  databaseRows: 1000,
  /** How often a statement is tried that the server ended because of others (a deadlock). */
  databaseTries: 3,
  /** A post that waits for another proxy looks this often, besides being told. */
  elsewhereLookMs: 500,
  /** How often one of the proxies adds up observed time and looks whether others have died. */
  ledgerLookMs: 10 * SECOND,
  /**
   * How long a proxy may be silent before what it was sending is listed as unknown; `--take-over`, at least `takeOverMinMs`. Longer
   * than the backend of a proxy that is only cut off from the database may take to answer what it has got (`smtpDotMs`,
   * `providerAnswerMs`): until then its message may still be sent, and the other proxies would send it a second time (law 13).
   * A proxy that is alive comes back within `databaseRetryMs`; one that was killed holds up its messages for this time.
   */
  takeOverMs: 15 * MINUTE,
  takeOverMinMs: 1 * SECOND,
  /** How much longer a proxy may be silent that is sending nothing, before it counts as dead. */
  idleOwnerMs: 1 * HOUR,

  // The smtp backend, and SMTP to the local mail server

  /** The smtp backend: connections to the relay (Postfix's own number), `--smtp-connections`, and messages on each. */
  smtpConnections: 20,
  smtpMessages: 100,
  /** How soon a relay that refused one more connection beside others is asked again. */
  smtpReopenMs: 10 * SECOND,
  /** An idle connection is closed after this time, long before a relay would (RFC 5321: 5 minutes). */
  smtpIdleMs: 30 * SECOND,
  /**
   * How long an SMTP server may take (RFC 5321 4.5.3.2): for the greeting and each command, for DATA, for a
   * block of the message, and for the final dot. Not in the RFC: for QUIT.
   */
  smtpCommandMs: 5 * MINUTE,
  smtpDataMs: 2 * MINUTE,
  smtpBlockMs: 3 * MINUTE,
  smtpDotMs: 10 * MINUTE,
  smtpQuitMs: 10 * SECOND,
  /** An access token is renewed so long before it ends, or after half of its life where that is later. */
  oauthRenewMs: 5 * MINUTE,
  /** How soon that is tried again when it failed, while the token still lives. */
  oauthRetryMs: 30 * SECOND,
  /** How long a signed request for a token is valid: Google takes an hour at most, Microsoft advises 5 to 10 minutes. */
  oauthAssertionMs: 5 * MINUTE,
  /** A server of tokens that refuses, and whose clock differs by more, is asked again at its own time. */
  oauthClockMs: 30 * SECOND,
  /** The longest reply; EHLO's has the most lines. */
  smtpReplyBytes: 64 * KiB,

  // The backends that call a provider's API: ses, mailgun, jmap (proxy/backends/provider/)

  /** Calls at once, and connections. */
  providerCalls: 20,
  /** How long a provider may take to answer besides the upload: as long as a relay to the final dot (smtpDotMs). */
  providerAnswerMs: 10 * MINUTE,
  /**
   * An idle connection is closed after this time, before any provider closes it: one that closes while a message is
   * sent leaves its outcome unknown.
   */
  providerIdleMs: 3 * SECOND,
  /** The largest answer that is read. */
  providerAnswerBytes: 1 * MiB,
  /** How soon a provider is asked again that takes no more calls now, has a quota used up, or does not take our key. */
  providerSlowerMs: 5 * SECOND,
  providerQuotaMs: 10 * MINUTE,
  providerRefusedMs: 1 * MINUTE,
  /** How long `proxy check` waits for each answer, and a backend for the keys of its machine's role. */
  providerCheckMs: 20 * SECOND,
  /** Amazon SES: recipients of one call, and a message in base64 (its quotas). */
  sesRecipients: 50,
  sesBase64Bytes: 40 * MiB,
  /** Mailgun: recipients of one call, and a message. */
  mailgunRecipients: 1000,
  mailgunMessageBytes: 25 * MiB,
  /** Deliveries at once to a JMAP server: the fewest uploads and requests that it should allow (RFC 8620 2). */
  jmapDeliveries: 4,
  /** How long a session is used before it is read again. */
  jmapSessionMs: 10 * MINUTE,
  /** How often a message without an answer is looked up, and the wait before each time but the first. */
  jmapLooks: 3,
  jmapLookMs: 5 * SECOND,
  /** After so many refusals of a message in a row, its recipients are not divided any further to find those that are meant. */
  jmapRefusals: 16,
  /** How long before they end the keys of a role are renewed; Amazon has new ones 5 minutes before that. */
  awsKeysRenewMs: 4 * MINUTE,
  /** How soon a renewal is tried again that failed, or brought keys that end soon; how long one answer may take. */
  awsKeysRetryMs: 10 * SECOND,
  awsKeysMs: 5 * SECOND,
  /** How long the token is valid that the instance metadata service gives for one reading: whole seconds. */
  awsTokenMs: 60 * SECOND,

  // The appengine backend

  /** The appengine backend: a message in the Mail API's fields (Google: 31.5 MB), and the answer. */
  appengineMessageBytes: 31_500_000,
  appengineAnswerBytes: 64 * KiB,
  /** Calls at once, and the deadline of one, as in Google's own clients. */
  appengineCalls: 100,
  appengineDeadlineMs: 60 * SECOND,
  /** An answer may be so much later than its deadline. */
  appengineGraceMs: 2 * SECOND,
  /** Retry-After when a quota is used up: some are by the minute, some by the day. */
  appengineQuotaRetryAfterMs: 5 * MINUTE,
  /** Parts of a message, nested ones too; taking it apart: time, memory of the thread besides its bytes. */
  mimeParts: 1000,
  mimeMs: 10 * SECOND,
  mimeHeapMiB: 512,
  /** Where HTML is looked through for the charset that it says it is in. */
  htmlMetaBytes: 4 * KiB,
  /** HTML that is made a text: characters, elements in elements, time, memory of the thread. */
  htmlTextChars: 256 * KiB,
  htmlTextDepth: 256,
  htmlTextMs: 5 * SECOND,
  htmlTextHeapMiB: 128,
  /** How long a thread without work is kept. */
  threadIdleMs: 60 * SECOND,
} as const;
