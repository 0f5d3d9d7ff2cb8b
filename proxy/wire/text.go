package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unsafe"

	"github.com/tidwall/gjson"
)

// view returns b as a text without copying it. It is for messages, which nobody changes once they are read.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // see above

// unview returns the bytes of a part of what view returned, under the same condition.
func unview(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) } //nolint:gosec // see above

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// unescape returns the text of a string token's inside. The token has passed the scanner.
func unescape(raw string) string {
	var s string
	if err := json.Unmarshal([]byte(`"`+raw+`"`), &s); err != nil {
		return raw
	}
	return s
}

// loneSurrogate reports whether a string token's inside has a \u escape that is half a surrogate pair. Go and most
// parsers replace it, JavaScript keeps it, and Python may turn it into a byte of its own.
func loneSurrogate(raw string) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		r := hex4(raw[i+1:])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' && utf16.DecodeRune(r, hex4(raw[i+3:])) != unicode.ReplacementChar {
			i += 6
			continue
		}
		return true
	}
	return false
}

func hex4(s string) rune {
	n, err := strconv.ParseUint(s[:4], 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// clip shortens what a peer sent for an error.
func clip(s string) string {
	const longest = 60
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}

// Words returns the texts and numbers in v, and the names of members that are not the protocol's own, one a line. The data
// of images, sounds and blobs have none.
func Words(v gjson.Result) string {
	var out strings.Builder
	appendWords(&out, v)
	return strings.TrimPrefix(out.String(), "\n")
}

func appendWords(out *strings.Builder, v gjson.Result) {
	switch {
	case v.IsObject():
		kind := v.Get("type").Str
		media := kind == "image" || kind == "audio"
		v.ForEach(func(key, value gjson.Result) bool {
			switch key.Str {
			case "type", "mimeType", "_meta", "annotations", "blob":
				return true
			case "data":
				if media {
					return true
				}
			case "content", "text", "uri":
			default:
				out.WriteByte('\n')
				out.WriteString(key.Str)
			}
			appendWords(out, value)
			return true
		})
	case v.IsArray():
		v.ForEach(func(_, value gjson.Result) bool {
			appendWords(out, value)
			return true
		})
	case v.Type == gjson.String || v.Type == gjson.Number:
		out.WriteByte('\n')
		out.WriteString(v.String())
	}
}
