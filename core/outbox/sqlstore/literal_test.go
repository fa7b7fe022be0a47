package sqlstore

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// hostile are texts that a statement could misread.
var hostile = []string{
	`'`, `''`, `\'`, `\`, `\\`, `"`, "`", `'; DROP TABLE postoffice_outbox; --`, `' OR '1'='1`, `$1`, `?`, `:a`, `@a`, `%s`, `%`, `_`,
	`--`, `/*`, `*/`, `#`, `;`, "\n", "\r\n", "\t", "\x01\x1a\x7f", `x'00'`, `E'\''`, `{a}`, `NULL`, `TABLE NOW DUE TOKEN COLUMNS CHANGES`,
	"Zażółć gęślą jaźń", "\U0001F40E", "e\u0301", "\u2028", "\uFEFF", "한국어", "a ", " a", "A", "a", "ß", "SS", "1", "1.0", "01",
}

// TestLiterals shows that a database reads each literal as it was meant, also
// with settings that change how it reads quoted ones.
func TestLiterals(t *testing.T) {
	settings := map[Dialect][]string{
		Postgres: {"SET standard_conforming_strings = off", "SET standard_conforming_strings = on"},
		MySQL:    {"SET sql_mode = ''", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"},
		SQLite:   {"SELECT 1"},
	}
	onEach(t, stands, func(t *testing.T, stand stand) {
		db := stand.open(t)
		db.SetMaxOpenConns(1)
		for _, setting := range settings[stand.dialect] {
			run(t, db, setting)
			for _, text := range append(hostile, "", strings.Repeat(`'\`, 1000)) {
				for _, literal := range []string{stand.dialect.text(text), stand.dialect.words(text)} {
					var got string
					found, err := first(t.Context(), db, "SELECT "+literal, nil, &got)
					require.NoError(t, err, literal)
					require.True(t, found)
					assert.Equal(t, text, got, literal)
				}
			}
		}
	})
}

// FuzzLiterals looks for text that leaves a literal.
func FuzzLiterals(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, dialect := range []Dialect{Postgres, MySQL, SQLite} {
			literal := dialect.text(text)
			form := `^('[A-Za-z0-9 _.:/-]*'|convert_from\(decode\('[0-9a-f]*', 'hex'\), 'UTF8'\)|x'[0-9a-f]*')$`
			if dialect == SQLite {
				form = `(?s)^('([^'\x00]|'')*'|CAST\(x'[0-9a-f]*' AS TEXT\))$`
			}
			assert.Regexp(t, form, literal)
		}
	})
}

// TestHostileTexts takes texts that a statement could misread through every
// method.
func TestHostileTexts(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		ctx := t.Context()
		var records []outbox.Record
		for _, text := range hostile {
			records = append(records, outbox.Record{
				ID: "id" + text, Topic: "topic" + text, Payload: []byte("{" + text + "}"), Attributes: []byte("{" + text + text + "}"), LastError: text,
			})
		}
		require.NoError(t, store.Insert(ctx, 0, records...))
		require.NoError(t, store.Insert(ctx, 0, records...), "each is known again")
		got := stored(t, store)
		require.Len(t, got, len(records), "no two are the same")
		byID := map[string]outbox.Record{}
		for _, record := range got {
			byID[record.ID] = record
		}
		var changes []outbox.Change
		for _, record := range claimed(t, store, 1000) {
			changes = append(changes, outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, LastError: "says " + record.ID})
		}
		n, err := store.Reschedule(ctx, changes...)
		require.NoError(t, err)
		require.Equal(t, len(records), n)
		for _, want := range records {
			record := byID[want.ID]
			assert.Equal(t, want.Topic, record.Topic)
			assert.Equal(t, string(want.Payload), string(record.Payload))
			assert.Equal(t, string(want.Attributes), string(record.Attributes))
			assert.Equal(t, want.LastError, record.LastError)

			found := list(t, store, outbox.Query{Topic: want.Topic})
			require.Equal(t, []string{want.ID}, idsOf(found), "by topic")
			assert.Equal(t, "says "+want.ID, found[0].LastError)
			n, err := store.Retry(ctx, outbox.Selection{Topic: want.Topic})
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			n, err = store.Delete(ctx, want.ID)
			require.NoError(t, err)
			assert.Equal(t, 1, n)
		}
		assert.Empty(t, stored(t, store))
	})
}

// TestLastErrorThatIsNoText shows that a bad LastError does not keep a record
// from being given back.
func TestLastErrorThatIsNoText(t *testing.T) {
	onEach(t, append(stands, variants[2]), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		record := message(t)
		record.LastError = "a\x00b\xffc"
		require.NoError(t, store.Insert(t.Context(), 0, record))
		c := claimed(t, store, 1)[0]
		assert.Equal(t, "a\uFFFDb\uFFFDc", c.LastError)
		n, err := store.Reschedule(t.Context(), outbox.Change{ID: c.ID, LeaseToken: c.LeaseToken, LastError: "\xc3\x28\x00"})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Equal(t, "\uFFFD(\uFFFD", stored(t, store)[0].LastError)
	})
}

// TestNamesTooLongForMySQL shows that nothing is cut, also where the server
// would.
func TestNamesTooLongForMySQL(t *testing.T) {
	db := stands[1].open(t)
	db.SetMaxOpenConns(1)
	store := opened(t, db, MySQL)
	run(t, db, "SET sql_mode = ''")
	record := message(t)
	record.Topic = strings.Repeat("t", 1025)
	err := store.Insert(t.Context(), 0, message(t), record)
	require.ErrorIs(t, err, outbox.ErrInvalid)
	assert.ErrorContains(t, err, "records[1].Topic has 1025 bytes, more than 1024")
	record = message(t)
	record.LeaseToken = strings.Repeat("t", 256)
	err = store.Insert(t.Context(), 0, record)
	require.ErrorIs(t, err, outbox.ErrInvalid)
	assert.ErrorContains(t, err, "records[0].LeaseToken has 256 bytes, more than 255")
	record.LeaseToken, record.Topic = "", strings.Repeat("t", 1024)
	require.NoError(t, store.Insert(t.Context(), 0, record))
	assert.Equal(t, record.Topic, stored(t, store)[0].Topic)
}

// TestLargeInserts shows that an insert of many bytes goes in pieces and is
// still one.
func TestLargeInserts(t *testing.T) {
	onEach(t, append(stands, variants[2], variants[4]), func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		records := messages(t, 600)
		for i := range 4 {
			records[i*60].Payload = []byte(`{"x":"` + strings.Repeat("x", 7_000_000) + `"}`)
		}
		broken := append(records[:599:599], records[599])
		run(t, store.db.DB, refusal(store)...)
		broken[599].Topic = "refused"
		require.ErrorContains(t, store.Insert(t.Context(), 0, broken...), "refus")
		n, err := store.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Zero(t, n, "none is kept")
		records[599].Topic = "orders"
		require.NoError(t, store.Insert(t.Context(), 0, records...))
		got, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 1000, Lease: time.Hour, MaxBytes: 15_000_000})
		require.NoError(t, err)
		assert.Len(t, got, 120, "up to the third large one")
		assert.Len(t, got[0].Payload, len(records[0].Payload))
	})
}

// refusal makes a table refuse the topic "refused".
func refusal(store *Store) []string {
	if store.dialect == SQLite {
		return []string{"CREATE TRIGGER refusal BEFORE INSERT ON " + store.table.SQL() +
			" WHEN NEW.topic = 'refused' BEGIN SELECT RAISE(ABORT, 'refused'); END"}
	}
	return []string{"ALTER TABLE " + store.table.SQL() + " ADD CONSTRAINT refusal CHECK (topic <> 'refused')"}
}
