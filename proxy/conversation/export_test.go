package conversation

// Hear tells a conversation once, to its end.
func (e *Ear) Hear(t Talk, pieces ...Piece) {
	h := e.listen(t)
	h.hear(pieces...)
	h.end()
}

// Remembered returns how many conversations and pieces are remembered.
func (e *Ear) Remembered() (talks, keys int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.talks), e.keys
}
