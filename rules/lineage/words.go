package lineage

import (
	"maps"
	"strings"
)

// A group is words for the same kind of action or of thing, in their bare forms. The first of a group of actions names it.
var (
	actions = groups(
		"send transfer pay forward mail email message share tell notify reply respond wire remit refund reimburse inform dispatch deliver text contact",
		"post publish tweet announce comment share upload",
		"create add make schedule plan organize organise write book put open register generate save invite insert set arrange prepare draft compose append",
		"update change modify edit set adjust fix move reschedule rename replace increase decrease correct reset manage switch",
		"delete remove cancel erase clear drop wipe purge destroy unsubscribe uninstall revoke discard trash",
		"pay transfer send settle remit deposit withdraw wire spend",
		"withdraw transfer move cash pay",
		"deposit transfer move pay add",
		"buy purchase order checkout rebuy shop get acquire pay reorder",
		"sell trade exchange place order",
		"place put order buy sell",
		"reserve book",
		"invite add share grant give",
		"grant share give allow authorize authorise permit enable invite unlock open",
		"share send give grant show forward",
		"download get save fetch install import",
		"install add download setup",
		"run execute launch start deploy build test perform invoke",
		"move transfer relocate put copy",
		"copy duplicate clone move",
		"leave quit exit unsubscribe",
		"redirect forward reroute change",
		"unlock open grant allow",
		"approve accept confirm authorize authorise merge",
		"submit send apply file post",
		"sign register",
		"enable activate start turn allow",
		"disable deactivate stop turn block",
		"block ban mute",
		"follow subscribe",
		"star like favorite favourite rate",
		"upload add send put",
		"push commit deploy upload update add change create",
		"commit push save update",
		"add create put insert append include attach invite register enter",
		"checkout buy purchase order rebuy reorder shop pay",
		"refund return reimburse cancel",
		"clear empty remove delete",
		"login log authenticate",
		"verify confirm authenticate",
		"clone copy download",
		"fork copy",
		"pull update fetch sync download get clone",
		"input enter fill submit",
		"merge combine approve",
		"transfer send move pay wire",
		"request ask order apply",
		"control turn set switch",
		"exchange swap trade change",
		"review rate comment post",
		"go move navigate",
		"dispatch send",
		"reset change update",
		"visit browse open check",
		"browse visit open check look",
		"click press open",
		"play start listen watch",
		"record log note",
		"export download save",
		"import upload load",
	)
	things = groups(
		"email mail emails inbox message reply",
		"message text dm chat email mail reply",
		"money owe debt cost spend dollar euro cent usd eur gbp chf share payment transaction bill rent invoice fund amount fee salary refund tax pay transfer",
		"transaction payment bill rent invoice money transfer refund subscription pay",
		"payment transaction bill rent invoice money transfer refund pay",
		"bill payment invoice pay",
		"fund money payment transfer",
		"file document doc note report attachment pdf txt spreadsheet sheet folder presentation list",
		"document file doc note report",
		"event meeting appointment calendar lunch dinner call reminder session",
		"participant attendee guest people",
		"password credential login secret passphrase",
		"user account profile",
		"info information detail data address phone",
		"repository repo project codebase git",
		"repo repository project git",
		"collaborator member contributor repository repo project",
		"reservation booking room table",
		"hotel room stay accommodation",
		"restaurant table dinner lunch",
		"car rental vehicle",
		"cart basket checkout order purchase buy product item",
		"product item article goods",
		"order purchase checkout buy sell trade item product",
		"webpage website page site url link web",
		"channel room group",
		"url link page site website",
	)
	bare = func() map[string]bool {
		out := map[string]bool{"retrieve": true, "get": true, "fetch": true, "read": true, "find": true, "search": true, "check": true, "view": true, "show": true, "provide": true, "download": true, "schedule": true, "proceed": true, "guide": true, "say": true, "print": true, "output": true, "respond": true, "recommend": true, "include": true, "use": true, "access": true, "look": true, "help": true}
		for verb := range actions {
			out[verb] = true
		}
		for _, noun := range []string{"status", "history", "info", "track", "estimate", "monitor", "query", "sort", "filter", "mail", "email", "message", "wire", "answer", "contact", "return", "open", "cash", "trade", "cancel", "direct", "save", "set", "listen", "watch", "look", "swap", "load", "rental", "mute", "ban", "press", "start", "stop", "turn", "purchase", "exchange", "insert", "draft", "design", "order", "place", "record", "text", "play", "review", "control", "test", "file", "note", "log", "share", "request", "input", "book", "post", "comment", "car", "like", "rate", "star", "table", "build"} {
			delete(out, noun) // most sentences that begin with them are no requests; "place an order" is one of "please"
		}
		for _, verb := range []string{"place", "share", "order", "book", "post", "cancel", "save", "set", "open", "purchase", "email", "message", "show"} {
			out[verb] = true
		}
		for verb := range reading {
			if things[verb] == nil {
				out[verb] = true
			}
		}
		return out
	}()
	reading = set("get read list search find show view fetch check query lookup look describe count retrieve browse summarize summarise analyze analyse " +
		"calculate compute compare verify validate inspect preview explain translate convert parse detect identify monitor track think history status info " +
		"load scan examine filter sort extract see display select recommend predict estimate reader viewer finder")
	little = set("a an the by to in on for of all from through with and or is id ids name my new via at as into user's account current most recent item")
)

// participles are the forms in which verbs of acting stand behind "must be".
var participles = func() map[string]bool {
	out := set("sent paid made given put bought sold set transferred submitted shared forwarded")
	for verb := range actions {
		for _, form := range forms(verb) {
			out[form] = out[form] || strings.HasSuffix(form, "ed")
		}
	}
	return out
}()

// groups returns the words that ask for what a word names: those of the lists that it begins, or else of those that it is in.
func groups(lists ...string) map[string][]string {
	out := map[string][]string{}
	for _, l := range lists {
		words := strings.Fields(l)
		out[words[0]] = append(out[words[0]], words...)
	}
	within := map[string][]string{}
	for _, l := range lists {
		words := strings.Fields(l)
		for _, w := range words[1:] {
			if out[w] == nil {
				within[w] = append(within[w], words...)
			}
		}
	}
	maps.Copy(out, within)
	return out
}

func set(list string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(list) {
		out[w] = true
	}
	return out
}

// stem takes the plural off a word, as far as that is simple.
func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is"):
		return w[:len(w)-1]
	}
	return w
}

// double reports whether a word of acting is the name of a thing as well.
func double(w string) bool {
	w = stem(w)
	return things[w] != nil || w == "text" || w == "contact" || w == "share"
}

// light are verbs that do what the name of a thing behind them says: "make a reservation".
var light = set("make made makes making place places placing do does doing submit complete initiate perform execute start arrange process issue request " +
	"requests requesting need needs want wants require requires authorize authorise")

// verbal are words behind which one that can be both is a verb.
var verbal = set("please and to then also you kindly or")

// forms returns the forms in which a word can stand: "pay" as pays, paid … as far as that is simple.
func forms(w string) []string {
	out := []string{w, w + "s", w + "es", w + "ed", w + "ing", w + "ment", w + "er"}
	if strings.HasSuffix(w, "e") {
		out = append(out, w+"d", w[:len(w)-1]+"ing", w[:len(w)-1]+"ation", w[:len(w)-1]+"ion")
	}
	if strings.HasSuffix(w, "y") {
		out = append(out, w[:len(w)-1]+"ies", w[:len(w)-1]+"ied")
	}
	if n := len(w); n > 2 {
		out = append(out, w+w[n-1:]+"ed", w+w[n-1:]+"ing")
	}
	return out
}
