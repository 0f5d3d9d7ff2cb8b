package hook

// Pieces returns the texts that stand in lines of a transcript of c.
func Pieces(c *Client, lines []byte) (out []string) {
	if c.said == nil {
		return nil
	}
	for _, p := range c.pieces(lines, "", func(string) bool { return false }) {
		out = append(out, p.text)
	}
	return out
}

// Spend uses up the room for so many turns that all conversations have that are believed, or are not.
func (h *Hooks) Spend(believed bool, turns int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range turns {
		h.rooms[believed].Take(0)
	}
}
