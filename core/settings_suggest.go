package core

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// showKey quotes a key, unless it may be misplaced data that must not be shown,
// such as a URL with a password.
func showKey(name string) string {
	odd := strings.ContainsFunc(name, func(r rune) bool { return !isUnreserved(r) })
	if odd || len(name) > 40 {
		return "(not shown)"
	}
	return strconv.Quote(name)
}

// suggestKey returns a hint about the intended key.
func suggestKey[T any](name string, keys []settingKey[T]) string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.name
	}
	distance := func(known string) int {
		return editDistance(foldKey(name), foldKey(known))
	}
	nearest := slices.MinFunc(names, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	if len(name) <= 40 && distance(nearest) <= max(2, len(nearest)/3) {
		return "did you mean " + nearest + "?"
	}
	return "the keys are " + strings.Join(names, ", ")
}

// foldKey maps spellings such as bulkTimeout and BULK_TIMEOUT to the same text.
func foldKey(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// editDistance counts the insertions, deletions and substitutions of bytes that
// turn a into b. For texts longer than a name it returns the maximum.
func editDistance(a, b string) int {
	const most = wire.MaxNameLength
	if len(a) > most || len(b) > most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
