package devserver

// maxReason is the maximum length of an error on a page, in characters.
const maxReason = 200
