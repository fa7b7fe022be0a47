// Package sqlite is the embedded [outbox.Store]: a file that survives crashes of the
// process and of the machine. It needs no server and no C compiler.
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
// When a method that changes something returns nil, the change is on disk: the file
// is an SQLite database in WAL mode with synchronous=FULL. When Insert returns an
// error, none of its records is stored, with one exception: the disk fails to flush
// and the process dies before it writes again. The end of its context interrupts a
// call only until the store has begun to execute it, because a record of unknown
// outcome is of no use.
//
// Concurrent calls share a transaction, and so one flush to disk, but each gets its
// own result: if the shared transaction fails, the store tries each call alone.
//
// # One process
//
// One store at a time uses a file. Opening it a second time, in this process or
// another, fails at once with [ErrInUse]. The lock ends with the process, however
// that ends. For processes that share an outbox, use one in a database server. Put
// the file on a local disk, because locks of network file systems are not reliable.
// A process must not open the database by other means while a store uses it: POSIX
// drops the locks of a file when the process closes any descriptor of it.
//
// Do not remove, replace, restore or truncate the files of an open store: SQLite
// would continue to write to files that no later process finds, or mix two versions.
// Before and after each transaction, the store checks that the database and NAME-wal
// are the files that it opened (also on Windows, where open files cannot be
// removed). If they are not, the store fails with [ErrLost] until it is opened
// again: Insert and Check fail, the client's Ready fails ([Store.Failed]), and
// messages are posted within the call or get an error.
//
//   - If the files were removed or replaced, records in the open file can still be
//     claimed and deleted, and the client continues to deliver them: give the process
//     time for that before you restart it.
//   - If only NAME-wal was removed, the store copies its content to the database at once.
//   - If a file was truncated or overwritten, the store writes nothing more.
//
// If the loss happens during a commit, Insert may return ErrLost for records that
// the lost file contains.
//
// # Clock
//
// While the store is open, leases and delays are measured in elapsed time, not by
// the wall clock: setting the clock neither ends nor extends them. Across a restart
// the wall clock counts: if it was set back, waiting records are due that much
// later.
//
// # Files
//
// While the store is open, and after a crash, the file NAME-wal is next to the
// database NAME. It belongs to the database and contains its latest changes: copy
// and move both, or close the store before. There is no NAME-shm, and after Close
// there is only the database. New files have permissions 0600, because payloads are
// private; the directory must exist and be writable. The store creates its schema
// and upgrades files of older versions; it rejects files of a newer version
// ([ErrNewer]) and of other applications ([ErrForeign]). New records reuse the space
// of deleted ones; the space is not returned to the file system.
//
// # Going back to an older release
//
// Opening a file upgrades it to the current version, 2 at present; older releases
// reject it from then on. Opening it with the command line of a newer release
// upgrades it too. The upgrade cannot be undone. Before going back, use the newer
// release to deliver the records, by "postoffice outbox deliver --outbox NAME", or
// to print them, by "postoffice outbox list --outbox NAME" and "postoffice outbox
// show". The older release then starts with a new file.
//
// # Errors
//
// A full disk and a reached bound both match [outbox.ErrFull]. A full disk can also
// keep Claim, Delete and other methods from storing their changes, so set a bound
// ([WithMaxBytes]) well below the size of the disk. A damaged file is reported as
// [ErrCorrupt], a removed or replaced one as [ErrLost]. A file or directory without
// write permission matches [io/fs.ErrPermission], a missing directory
// [io/fs.ErrNotExist]. Errors name the file and never contain payloads. Once the
// cause of an error is resolved, the store works again without being reopened,
// except after ErrLost.
package sqlite
