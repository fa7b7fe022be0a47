// Command postoffice is the command line of the clients of a Postoffice
// server.
//
//	postoffice configure topics|consumers|all
//	postoffice health
//	postoffice publish TOPIC [PAYLOAD]
//	postoffice outbox count|list|show|retry|discard|deliver
//	postoffice inbox count|list|show|retry|discard
//	postoffice dev
//	postoffice version
//	postoffice completion bash|zsh|fish|powershell
//
// Each command explains itself, its flags and its JSON with --help.
//
// # Settings
//
// A flag overrides a variable of the environment, and a variable overrides the
// settings file. The file, which --settings or POSTOFFICE_SETTINGS names, is
// that of [github.com/postoffice-go/postoffice/core.ParseSettings]; the
// variables are those of [github.com/postoffice-go/postoffice/core.SettingsFromEnv],
// and POSTOFFICE_OUTBOX and POSTOFFICE_INBOX for --outbox and --inbox.
//
// # Output
//
// Results go to stdout, and everything else to stderr: progress, questions,
// remarks, and errors, which say what to do next and hold neither credentials
// nor payloads. With --json the result is one JSON document on a line of its
// own, and with "outbox list" and "inbox list" one for each message (JSON Lines). Commands that
// fail before they have a result, such as for bad usage, write none. Fields
// may be added to the documents; none is removed.
//
// # Exit codes
//
//	  0  everything was done
//	  1  nothing was done, and trying again as it is does not help
//	  2  the arguments, flags or settings cannot be used; nothing was tried
//	  3  a part was done, a part was not
//	  4  the server cannot be reached, or fails: trying again later may help
//	  5  another process has the outbox file
//	130  Ctrl-C ended it; 143 SIGTERM; 141 nobody reads the output any more
//
// # Long inputs
//
// Publish reads lines as they come, and holds one request of them in memory.
// A first Ctrl-C or SIGTERM lets the request under way end, so that the count
// of what was accepted is true; a second one ends the process at once. Where a
// request gets no answer, its lines are reported as not accepted, and may have
// arrived nevertheless: messages are delivered at least once.
package main
