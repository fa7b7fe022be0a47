package sqlstore

import (
	"fmt"
	"strings"
)

// values writes the values of a statement: as literals, or as parameters whose
// arguments it collects.
//
// Statements carry literals wherever they can: see [Dialect.text]. Those for
// PostgreSQL that return rows have parameters instead, because pgx prepares
// every query and keeps it by its text, so the text must always be the same.
type values struct {
	dialect    Dialect
	parameters bool
	args       []any
}

// literals writes values as literals.
func (d Dialect) literals() *values { return &values{dialect: d} }

// querying writes values for a query that returns rows.
func (d Dialect) querying() *values { return &values{dialect: d, parameters: d == Postgres} }

func (v *values) add(arg any, typ string) string {
	v.args = append(v.args, arg)
	return fmt.Sprintf("CAST($%d AS %s)", len(v.args), typ)
}

// text is a string.
func (v *values) text(s string) string {
	if v.parameters {
		return v.add(s, "text")
	}
	return v.dialect.text(s)
}

// number is an integer.
func (v *values) number(n int64) string {
	if v.parameters {
		return v.add(n, "bigint")
	}
	return fmt.Sprint(n)
}

// beginning is the first bytes of a column of bytes.
func (v *values) beginning(column string, bytes int) string {
	if v.parameters {
		return "substring(" + column + " FROM 1 FOR " + v.add(int64(bytes), "integer") + ")"
	}
	return fmt.Sprintf("substr(%s, 1, %d)", column, bytes)
}

// among is the rest of a condition that a column has one of some values.
func (v *values) among(list []string) string {
	if !v.parameters {
		return " IN (" + v.dialect.texts(list) + ")"
	}
	return " = ANY (" + v.array(list) + ")"
}

// array is an array of strings for PostgreSQL, as text, which every driver can
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

// planned is one more condition, always true, that has PostgreSQL plan a
// prepared statement at each execution: for the table as it is now and not as
// it was when it was empty, which would be to read all of it. With the
// argument at hand the condition vanishes from the plan. Without it, as in a
// plan for all executions, it seems to count for ever, so that such a plan is
// not chosen.
func (v *values) planned() string {
	if !v.parameters {
		return ""
	}
	return strings.Replace(plannedParameter, "CAST(? AS bigint)", v.add(int64(0), "bigint"), 1)
}
