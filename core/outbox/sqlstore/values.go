package sqlstore

import (
	"fmt"
	"strings"
)

// values writes the values of a statement as literals, or as parameters whose
// arguments it collects.
//
// Statements carry literals wherever possible: see [Dialect.text]. Queries for
// PostgreSQL that return rows have parameters instead, because pgx prepares every
// query and caches it by its text, so the text must not vary.
type values struct {
	dialect    Dialect
	parameters bool
	args       []any
}

// literals returns values that are written as literals.
func (d Dialect) literals() *values { return &values{dialect: d} }

// querying returns values for a query that returns rows.
func (d Dialect) querying() *values { return &values{dialect: d, parameters: d == Postgres} }

func (v *values) add(arg any, typ string) string {
	v.args = append(v.args, arg)
	return fmt.Sprintf("CAST($%d AS %s)", len(v.args), typ)
}

// text writes a string.
func (v *values) text(s string) string {
	if v.parameters {
		return v.add(s, "text")
	}
	return v.dialect.text(s)
}

// number writes an integer.
func (v *values) number(n int64) string {
	if v.parameters {
		return v.add(n, "bigint")
	}
	return fmt.Sprint(n)
}

// beginning returns an expression for the first bytes of a binary column.
func (v *values) beginning(column string, bytes int) string {
	if v.parameters {
		return "substring(" + column + " FROM 1 FOR " + v.add(int64(bytes), "integer") + ")"
	}
	return fmt.Sprintf("substr(%s, 1, %d)", column, bytes)
}

// among returns the end of a condition that a column has one of some values. The array
// of a parameter stands in a subquery: PostgreSQL would read its text again for each
// row, and the whole table for many values in a small table.
func (v *values) among(list []string) string {
	if !v.parameters {
		return " IN (" + v.dialect.texts(list) + ")"
	}
	return " = ANY (ARRAY(SELECT unnest(" + v.array(list) + ")))"
}

// array writes an array of strings for PostgreSQL, as text, which every driver can
// send.
func (v *values) array(list []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = `"` + escape.Replace(s) + `"`
	}
	return "CAST(" + v.add("{"+strings.Join(quoted, ",")+"}", "text") + " AS text[])"
}

// plannedParameter is the condition of [values.planned], with a parameter that is 0.
const plannedParameter = " AND (CAST(? AS bigint) = 0 OR (SELECT count(*) FROM generate_series(1, 1000000000)) = 0)"

// planned returns a condition that is always true and makes PostgreSQL plan a
// prepared statement at each execution: for the table as it is now, not as it was
// when it was empty, when reading the whole table was best. When the argument is
// known, the condition vanishes from the plan. In a generic plan the condition seems
// to count forever, so PostgreSQL does not choose that plan.
func (v *values) planned() string {
	if !v.parameters {
		return ""
	}
	return strings.Replace(plannedParameter, "CAST(? AS bigint)", v.add(int64(0), "bigint"), 1)
}
