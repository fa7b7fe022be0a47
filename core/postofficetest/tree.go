package postofficetest

import (
	"encoding/json"
	"slices"
	"strings"
)

// node is a parsed JSON value. Trees are walked without recursion, because clients
// determine their depth.
type node struct {
	text     json.RawMessage // a scalar, or the opening bracket
	keys     []string        // keys of an object, in the order of children
	children []*node
}

// treeOf parses a valid JSON value. The first of duplicate keys wins.
func treeOf(text json.RawMessage) *node {
	root := &node{}
	open := []*node{root}
	for i := skip(text, 0); i < len(text); i = skip(text, i) {
		parent := open[len(open)-1]
		if c := text[i]; c == '}' || c == ']' {
			open = open[:len(open)-1]
			i++
			parent.dropDuplicates()
			continue
		}
		if kindOf(parent.text) == '{' && len(parent.keys) == len(parent.children) {
			end := stringEnd(text, i)
			name, _ := stringOf(text[i:end])
			parent.keys = append(parent.keys, name)
			i = end
			continue
		}
		child := &node{}
		parent.children = append(parent.children, child)
		if c := text[i]; c == '{' || c == '[' {
			child.text = text[i : i+1]
			open = append(open, child)
			i++
			continue
		}
		end := valueEnd(text, i)
		child.text = text[i:end]
		i = end
	}
	return root.children[0]
}

// dropDuplicates keeps the first of children with the same key.
func (n *node) dropDuplicates() {
	if len(n.keys) < 2 {
		return
	}
	known := make(map[string]bool, len(n.keys))
	kept := 0
	for i, key := range n.keys {
		if !known[key] {
			known[key] = true
			n.keys[kept], n.children[kept] = key, n.children[i]
			kept++
		}
	}
	n.keys, n.children = n.keys[:kept], n.children[:kept]
}

// set adds a child to an object, or replaces the child with the same key.
func (n *node) set(key string, child *node) {
	if i := slices.Index(n.keys, key); i >= 0 {
		n.children[i] = child
		return
	}
	n.keys, n.children = append(n.keys, key), append(n.children, child)
}

// order returns the indexes of an object's children in descending order of their
// keys, in which the server was seen to send small objects.
func (n *node) order() []int {
	places := make([]int, len(n.children))
	for i := range places {
		places[i] = i
	}
	if n.keys != nil {
		slices.SortFunc(places, func(a, b int) int { return strings.Compare(n.keys[b], n.keys[a]) })
	}
	return places
}

// rendered returns the value as a consumer receives it: without white space, with
// keys in a different order and each once, and numbers with a fraction or an
// exponent as doubles.
func (n *node) rendered() []byte {
	type step struct {
		node  *node
		order []int // the remaining children
		first bool
	}
	var out []byte
	out = n.opened(out)
	open := []step{{n, n.order(), true}}
	for len(open) > 0 {
		top := &open[len(open)-1]
		if len(top.order) == 0 {
			switch kindOf(top.node.text) {
			case '{':
				out = append(out, '}')
			case '[':
				out = append(out, ']')
			}
			open = open[:len(open)-1]
			continue
		}
		if !top.first {
			out = append(out, ',')
		}
		place := top.order[0]
		top.order, top.first = top.order[1:], false
		if top.node.keys != nil {
			out = append(appendString(out, top.node.keys[place]), ':')
		}
		child := top.node.children[place]
		out = child.opened(out)
		open = append(open, step{child, child.order(), true})
	}
	return out
}

// opened appends a scalar, or the opening bracket.
func (n *node) opened(out []byte) []byte {
	switch kindOf(n.text) {
	case '"':
		text, _ := stringOf(n.text)
		return appendString(out, text)
	case '{', '[', 't', 'f', 'n':
		return append(out, n.text...)
	default:
		return append(out, renderedNumber(n.text)...)
	}
}
