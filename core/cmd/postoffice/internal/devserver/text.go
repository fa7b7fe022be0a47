package devserver

// Bounds of what a page shows of a text, in characters.
const (
	maxName    = 64
	maxPreview = 140
	maxReason  = 200
	maxPayload = 20_000
)
