package core_test

import "time"

// Figures of the client that users can observe. The tests state them here, and
// fail when the client no longer keeps them.
const (
	// breakerConsecutive is how many failures in a row open the circuit breaker.
	breakerConsecutive = 5
	// backoffBase and backoffMax bound the pause after the first failure of a
	// message in the outbox, and after many.
	backoffBase = time.Second
	backoffMax  = 5 * time.Minute
	// memoryRetryMax bounds the pause before messages in memory are tried again.
	memoryRetryMax = 30 * time.Second

	// slots is how many posts of the relay run at a time.
	slots = 8
	// relayPoll is how often the relay looks for messages of other processes.
	relayPoll = 2 * time.Second
	// relayErrorMax bounds the pause of the relay after an error of the outbox.
	relayErrorMax = 3 * time.Second
	// lockedPause is how long the relay leaves alone what is due and cannot be
	// claimed.
	lockedPause = 200 * time.Millisecond
	// storeTimeout bounds a call to the outbox.
	storeTimeout = 5 * time.Second
	// fullPoll is how often a call that waits asks a full outbox for capacity.
	fullPoll = 100 * time.Millisecond
	// commitPauseMax bounds the pause after a failed commit of what is in memory.
	commitPauseMax = time.Second
	// maxShards bounds the batches of one kind that are open at the same time.
	maxShards = 4

	// readinessTimeout bounds how long Ready waits for the outbox.
	readinessTimeout = 5 * time.Second
	// recoveryLists is how many lists of the recovery endpoint are remembered.
	recoveryLists = 100
	// setupRetryMax bounds the pause before setup is tried again.
	setupRetryMax = time.Minute
	// restoreInterval is how often a topic that the server has lost is restored.
	restoreInterval = 10 * time.Second
	// maxUnknownTopics is how many unknown topics are remembered.
	maxUnknownTopics = 1000
	// maxOrigins is how many origins SendCall.Origins holds.
	maxOrigins = 128
	// minutes is how many minutes LastHour holds.
	minutes = 60

	// maxMessageBytes bounds payload, attributes and topic together.
	maxMessageBytes = 7_000_000
	// scheduleLayout is the form of a time of delivery in a request.
	scheduleLayout = "2006-01-02T15:04:05.000000Z07:00"
	// prefix begins the text of each error.
	prefix = "postoffice: "
)
