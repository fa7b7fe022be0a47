package devserver

// maxReason bounds what a page shows of an error, in characters.
const maxReason = 200
