// Package sqlite is the embedded [outbox.Store]: a file of its own that
// survives crashes of the process and of the machine. It needs no server and
// no C compiler.
//
//	store, err := sqlite.Open(ctx, "/var/lib/app/outbox.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	client, err := core.NewClient(core.Config{Outbox: store})
//
// # Promises
//
// When a method that changes something returns nil, the change is on disk:
// the file is an SQLite database in WAL mode with synchronous=FULL. When
// Insert returns an error, none of its records is kept; only if the disk fails
// to flush, and the process dies before it writes again, may they be. Once the store has
// begun with a call, its context's end no longer interrupts it, since a
// record of unknown outcome helps nobody; until then it does.
//
// Calls that come at the same time share a transaction, and so one flush to
// disk, but each gets its own result: if the shared transaction fails, each
// of them is tried alone.
//
// # One process
//
// A file is used by one store at a time. Opening it a second time, in this
// process or another, fails at once with [ErrInUse]. The lock goes when the
// process ends, however it ends. Processes that are to share an outbox need
// one in a database server. The file belongs on a local disk, because locks
// of network file systems are not reliable; and as POSIX locks are dropped
// when a process closes any descriptor of a file, a process must not open
// the database by other means while a store uses it.
//
// Nor may anybody remove, replace, restore or cut the files of a store that is
// open: SQLite would go on writing to files that no later process finds, or mix
// two. The store looks before and after each transaction whether the database
// and NAME-wal are the ones that it opened, on Windows too, where open files
// cannot be removed. If not, it has failed with [ErrLost] until it is opened
// anew: Insert and Check fail, the client's Ready fails ([Store.Failed]), and
// messages are posted within the call or get an error. If the files were
// removed or replaced, what the store still has open can be claimed and
// deleted, so the client goes on to deliver it: leave the process time for that
// before it is started anew. If only NAME-wal was removed, what it held is
// brought into the database at once. If a file was cut or overwritten, nothing
// is written any more. Insert can return ErrLost for records that the lost
// file holds if that happens during the very commit.
//
// # Clock
//
// Leases and delays follow the time that passes, not the wall clock, while
// the store is open: setting the clock ends none early and prolongs none.
// Across a restart the wall clock counts: where it was set back meanwhile,
// what waits is due that much later.
//
// # Files
//
// Next to the database, NAME, is NAME-wal while the store is open and after a
// crash; it belongs to the database and holds its latest changes, so copy
// and move both or close the store before. There is no NAME-shm, and after
// Close there is the database alone. New files have permissions 0600,
// because payloads are private; the directory must exist and be writable.
// The store creates its schema and brings that of older versions up to date;
// it refuses files of a newer version ([ErrNewer]) and of others
// ([ErrForeign]). Space of deleted records is used again for new ones and
// not given back to the file system.
//
// # Going back to an older release
//
// Opening brings a file to the version of the release, which is 2 at present,
// and an older release refuses it from then on; opening it with the command
// line of a newer release counts, too. There is no way back for a file but to
// export what it holds: "postoffice outbox deliver --outbox NAME" delivers it,
// "postoffice outbox list --outbox NAME" and "postoffice outbox show" print
// it, with the newer release. The older one then starts with a new file.
//
// # Errors
//
// A full disk and a reached bound both match [outbox.ErrFull]; a full disk can
// also keep Claim, Delete and the others from noting what they did, so a
// bound ([WithMaxBytes]) that is well below the disk's size is better. A
// damaged file gives [ErrCorrupt], one that was taken away [ErrLost]. A file or directory that may not be written matches
// [io/fs.ErrPermission], a missing directory [io/fs.ErrNotExist]. Errors name
// the file and never hold payloads. When the cause of an error is gone, the
// store goes on working without being opened anew, except after ErrLost.
package sqlite
