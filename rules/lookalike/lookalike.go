// Package lookalike knows which characters pass for a letter or digit of ASCII.
package lookalike

// Of returns the character of ASCII for which r passes. Some of ASCII pass for others: "1" and "I" for "l", "0" for "O".
func Of(r rune) (ascii rune, ok bool) {
	ascii, ok = table[r]
	return ascii, ok
}

// table holds characters that pass for a letter or digit of ASCII: those of Unicode Technical Standard #39
// (confusables.txt 13.0.0, © Unicode, Inc., https://www.unicode.org/license.txt) that stand for a single one, are of the
// Basic Multilingual Plane and are left by NFKC, and the forms of kappa. Pairs of other scripts among each other, and
// letters with marks, are not in it.
var table = func() map[rune]rune {
	out := map[rune]rune{}
	for ascii, list := range map[rune]string{
		'-': "\u02d7\u06d4\u2010\u2012\u2013\u2043\u2212\u2796\u2cba",
		'.': "\u0660\u06f0\u0701\u0702\ua4f8\ua60e",
		'2': "\u01a7\u03e8\u14bf\ua644\ua6ef\ua75a",
		'3': "\u01b7\u021c\u0417\u04e0\u2ccc\ua76a\ua7ab",
		'4': "\u13ce",
		'5': "\u01bc",
		'6': "\u0431\u13ee\u2cd2",
		'8': "\u0222\u0223\u09ea\u0a6a\u0b03",
		'9': "\u09ed\u0a67\u0b68\u0d6d\u2cca\ua76e",
		'A': "\u0391\u0410\u13aa\u15c5\ua4ee",
		'B': "\u0392\u0412\u13f4\u15f7\ua4d0\ua7b4",
		'C': "\u0421\u13df\u2ca4\ua4da",
		'D': "\u13a0\u15de\u15ea\ua4d3",
		'E': "\u0395\u0415\u13ac\u22ff\u2d39\ua4f0",
		'F': "\u03dc\u15b4\ua4dd\ua798",
		'G': "\u050c\u13c0\u13f3\ua4d6",
		'H': "\u0397\u041d\u13bb\u157c\u2c8e\ua4e7",
		'J': "\u037f\u0408\u13ab\u148d\ua4d9\ua7b2",
		'K': "\u039a\u041a\u13e6\u16d5\u2c94\ua4d7",
		'L': "\u13de\u14aa\u2cd0\ua4e1",
		'M': "\u039c\u03fa\u041c\u13b7\u15f0\u16d6\u2c98\ua4df",
		'N': "\u039d\u2c9a\ua4e0",
		'O': "0\u039f\u041e\u0555\u07c0\u09e6\u0b20\u0b66\u12d0\u2c9e\u2d54\u3007\ua4f3",
		'P': "\u03a1\u0420\u13e2\u146d\u2ca2\ua4d1",
		'Q': "\u2d55",
		'R': "\u01a6\u13a1\u13d2\u1587\ua4e3",
		'S': "\u0405\u054f\u13d5\u13da\ua4e2",
		'T': "\u03a4\u0422\u13a2\u22a4\u27d9\u2ca6\ua4d4",
		'U': "\u054d\u1200\u144c\u222a\u22c3\ua4f4",
		'V': "\u0474\u0667\u06f7\u13d9\u142f\u2d38\ua4e6\ua6df",
		'W': "\u051c\u13b3\u13d4\ua4ea",
		'X': "\u03a7\u0425\u166d\u16b7\u2573\u2cac\u2d5d\ua4eb\ua7b3",
		'Y': "\u03a5\u0423\u04ae\u13a9\u13bd\u2ca8\ua4ec",
		'Z': "\u0396\u13c3\ua4dc",
		'_': "\u07fa",
		'a': "\u0251\u03b1\u0430\u237a",
		'b': "\u0184\u042c\u13cf\u1472\u15af",
		'c': "\u0441\u1d04\u2ca5\uabaf",
		'd': "\u0501\u13e7\u146f\ua4d2",
		'e': "\u0435\u04bd\u212e\uab32",
		'f': "\u0584\u1e9d\ua799\uab35",
		'g': "\u018d\u0261\u0581\u1d83",
		'h': "\u04bb\u0570\u13c2",
		'i': "\u0131\u0269\u026a\u03b9\u0456\u04cf\u13a5\u2373\ua647\uab75",
		'j': "\u03f3\u0458",
		'l': "1I|\u0196\u01c0\u0399\u0406\u04c0\u05c0\u05d5\u05df\u0627\u0661\u06f1\u07ca\u16c1\u2223\u23fd\u2c92\u2d4f\ua4f2",
		'n': "\u0578\u057c",
		'o': "\u03bf\u03c3\u043e\u0585\u05e1\u0647\u0665\u06be\u06c1\u06d5\u06f5\u0966\u0a66\u0ae6\u0be6\u0c02\u0c66\u0c82\u0ce6\u0d02\u0d20\u0d66\u0d82\u0e50\u0ed0\u101d\u1040\u10ff\u1d0f\u1d11\u2c9f\uab3d",
		'p': "\u03c1\u0440\u2374\u2ca3",
		'q': "\u051b\u0563\u0566",
		'r': "\u0433\u1d26\u2c85\uab47\uab48\uab81",
		's': "\u01bd\u0455\ua731\uabaa",
		'u': "\u028b\u03c5\u057d\u1d1c\ua79f\uab4e\uab52",
		'v': "\u03bd\u0475\u05d8\u1d20\u2228\u22c1\uaba9",
		'w': "\u026f\u0461\u051d\u0561\u1d21\uab83",
		'x': "\u00d7\u0445\u1541\u157d\u166e\u292b\u292c\u2a2f",
		'y': "\u0263\u028f\u03b3\u0443\u04af\u10e7\u1d8c\u1eff\uab5a",
		'z': "\u1d22\uab93",
		'k': "\u0138\u03ba\u043a",
	} {
		for _, r := range list {
			out[r] = ascii
		}
	}
	return out
}()
