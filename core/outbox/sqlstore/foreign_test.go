package sqlstore

import (
	"database/sql"
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// postgresEncoded is a database of an encoding, with a parameter of the driver.
func postgresEncoded(driver, encoding string, parameters ...string) stand {
	return stand{driver + " " + encoding, Postgres, func(tb testing.TB) *sql.DB {
		tb.Helper()
		dsn := testdb.Postgres(tb).Create(tb)
		admin := connect(tb, "pgx", dsn)
		name := "encoded_" + freshTable()
		run(tb, admin, `CREATE DATABASE "`+name+`" ENCODING '`+encoding+`' TEMPLATE template0`)
		tb.Cleanup(func() { run(tb, admin, `DROP DATABASE "`+name+`" WITH (FORCE)`) })
		address, err := url.Parse(dsn)
		require.NoError(tb, err)
		address.Path = name
		query := address.Query()
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		address.RawQuery = query.Encode()
		return connect(tb, driver, address.String())
	}}
}

// mysqlEncoded is a connection of a character set.
func mysqlEncoded(charset string, interpolate bool) stand {
	name := "mariadb " + charset
	if interpolate {
		name += ", interpolated"
	}
	return stand{name, MySQL, func(tb testing.TB) *sql.DB {
		return connectMySQL(tb, testdb.MariaDB(tb).Create(tb)+"?charset="+charset, func(c *mysql.Config) {
			c.InterpolateParams = interpolate
		})
	}}
}

// encodings are databases and connections that do not have every character.
var encodings = []stand{
	postgresEncoded("pgx", "LATIN1"),
	postgresEncoded("pgx", "LATIN1", "client_encoding", "UTF8"),
	postgresEncoded("postgres", "LATIN1"),
	postgresEncoded("pgx", "WIN1252"),
	postgresEncoded("postgres", "EUC_JP"),
	postgresEncoded("pgx", "SQL_ASCII"),
	postgresEncoded("postgres", "SQL_ASCII"),
	{"sqlite UTF-16", SQLite, func(tb testing.TB) *sql.DB {
		return connect(tb, "sqlite", "file:"+sqliteFile(tb)+"?_pragma=encoding('UTF-16')&_pragma=busy_timeout(5000)")
	}},
	mysqlEncoded("utf8", false), mysqlEncoded("utf8", true), mysqlEncoded("latin1", false), mysqlEncoded("latin1", true),
}

// foreignTexts are what servers answer.
var foreignTexts = []string{
	"HTTP 503: \U0001F4EE is full", "za\u017c\u00f3\u0142\u0107", "caf\u00e9", "\u2028", "\U0010FFFF", "\x81\x8d", "\xf0\x9f", "a\x00b", "plain",
	"\u65e5\u672c\u8a9e (\u00e9)",
}

// TestForeignTextDecidesNothing shows that no character of a LastError keeps a
// record from being stored or given back, nor those beside it.
func TestForeignTextDecidesNothing(t *testing.T) {
	onEach(t, append(append(stands, variants...), encodings...), func(t *testing.T, stand stand) {
		ctx := t.Context()
		check := func(t *testing.T, store *Store) {
			records := messages(t, len(foreignTexts))
			for i, text := range foreignTexts {
				records[i].LastError = text
			}
			require.NoError(t, store.Insert(ctx, 0, records[0]))
			require.NoError(t, store.Insert(ctx, 0, records...))
			tx, err := store.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			inTx := message(t)
			inTx.LastError = foreignTexts[0]
			require.NoError(t, store.InsertTx(ctx, tx, inTx))
			require.NoError(t, tx.Commit())

			held := claimed(t, store, 100)
			require.Len(t, held, len(records)+1)
			changes := make([]outbox.Change, len(held))
			for i, record := range held {
				changes[i] = outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, LastError: foreignTexts[i%len(foreignTexts)], Dead: i%2 == 0}
			}
			n, err := store.Reschedule(ctx, changes...)
			require.NoError(t, err)
			assert.Equal(t, len(held), n)
			for i, record := range stored(t, store) {
				assert.True(t, utf8.ValidString(record.LastError), "%q", record.LastError)
				assert.NotEmpty(t, record.LastError)
				assert.Empty(t, record.LeaseToken, i)
			}
			n, err = store.Discard(ctx, outbox.Selection{All: true})
			require.NoError(t, err)
			assert.Equal(t, len(held), n)
		}
		store := opened(t, stand.open(t), stand.dialect)
		check(t, store)
		unlearned := another(t, store)
		if stand.dialect == Postgres {
			unlearned.encoding.known.Store(unicode) // as if it had not been asked
		}
		check(t, unlearned)
		if stand.dialect != Postgres {
			assert.Equal(t, unknownEncoding, unlearned.encoding.known.Load(), "nothing was refused")
		}
		require.NoError(t, store.Check(ctx))
		check(t, store)
	})
}

// TestForeignTextIsLegible shows that a text is kept as it is where that is
// possible, and can be read where it is not.
func TestForeignTextIsLegible(t *testing.T) {
	text := "caf\u00e9 \U0001F4EE"
	for _, c := range []struct {
		stand
		want string // as it is read, where not everything can be
	}{
		{stands[0], text}, {stands[1], text}, {stands[2], text}, {variants[2], text}, {variants[4], text},
		{encodings[0], `caf\u00e9 \U0001f4ee`},
		{encodings[2], `caf\u00e9 \U0001f4ee`},
		{encodings[5], text},
		{encodings[7], text},
		{encodings[8], "caf\u00e9 ?"}, // only reading it fails
	} {
		t.Run(c.name, func(t *testing.T) {
			store := opened(t, c.open(t), c.dialect)
			record := message(t)
			record.LastError = text
			require.NoError(t, store.Insert(t.Context(), 0, record))
			assert.Equal(t, c.want, stored(t, store)[0].LastError)
			held := claimed(t, store, 1)[0]
			n, err := store.Reschedule(t.Context(), outbox.Change{ID: held.ID, LeaseToken: held.LeaseToken, LastError: "again " + text})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			assert.Equal(t, "again "+c.want, stored(t, store)[0].LastError)
		})
	}
}

// TestSQLiteInUTF16 shows that text finds what it names in a file that keeps
// text in another encoding.
func TestSQLiteInUTF16(t *testing.T) {
	store := opened(t, encodings[7].open(t), SQLite)
	for _, text := range hostile {
		record := message(t)
		record.ID += "'(;"
		record.Topic += text
		require.NoError(t, store.Insert(t.Context(), 0, record))
		for _, selection := range []outbox.Selection{{IDs: []string{record.ID}}, {Topic: record.Topic}} {
			n, err := store.Count(t.Context(), selection)
			require.NoError(t, err)
			assert.Equal(t, 1, n, "%q", text)
			n, err = store.Retry(t.Context(), selection)
			require.NoError(t, err)
			assert.Equal(t, 1, n, "%q", text)
		}
		held := claimed(t, store, 1)
		n, err := store.Reschedule(t.Context(), outbox.Change{ID: record.ID, LeaseToken: held[0].LeaseToken})
		require.NoError(t, err)
		assert.Equal(t, 1, n, "%q", text)
		n, err = store.Delete(t.Context(), record.ID)
		require.NoError(t, err)
		assert.Equal(t, 1, n, "%q", text)
	}
}
