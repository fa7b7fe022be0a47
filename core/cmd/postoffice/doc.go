// Command postoffice is the command line for apps that use a Postoffice server.
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
// The flag --help describes each command, its flags and its JSON.
//
// # Settings
//
// A flag overrides an environment variable, and a variable overrides the settings
// file. The file, set by --settings or POSTOFFICE_SETTINGS, is that of
// [github.com/postoffice-go/postoffice/core.ParseSettings]; the variables are those
// of [github.com/postoffice-go/postoffice/core.SettingsFromEnv], and
// POSTOFFICE_OUTBOX and POSTOFFICE_INBOX for --outbox and --inbox.
//
// # Output
//
// Results go to stdout, and everything else to stderr: progress, questions, remarks,
// and errors. Errors say what to do next and contain neither credentials nor
// payloads. With --json the result is one JSON document on a line; "outbox list" and
// "inbox list" write one for each message (JSON Lines). Commands that fail before
// they have a result, for example because of wrong usage, write none. Fields may be
// added to the documents; none is removed.
//
// # Exit codes
//
//	  0  everything was done
//	  1  nothing was done; repeating the same command does not help
//	  2  invalid arguments, flags or settings; nothing was tried
//	  3  done in part
//	  4  the server is unreachable or fails: trying again later may help
//	  5  another process uses the outbox file
//	130  ended by Ctrl-C; 143 by SIGTERM; 141 by a closed output pipe
//
// # Long inputs
//
// Publish reads lines as they arrive, and holds one request of them in memory. A
// first Ctrl-C or SIGTERM lets the request in progress finish, so that the count of
// accepted messages is exact; a second one ends the process at once. If a request
// gets no answer, its lines are reported as not accepted, although they may have
// arrived: messages are delivered at least once.
package main
