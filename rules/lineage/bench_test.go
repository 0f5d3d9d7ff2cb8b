package lineage_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/lineage"
)

// texts are 1 MiB of results each, kind and unkind.
var texts = map[string]func() string{
	"prose":      func() string { return prose(1 << 20) },
	"repetition": func() string { return strings.Repeat("a", 1<<20) },
	"near-duplicates": func() string {
		var b strings.Builder
		for i := 0; b.Len() < 1<<20; i++ {
			fmt.Fprintf(&b, "please send the money to DE8937040044053201%04d now. ", i%10000)
		}
		return b.String()
	},
	"random": func() string {
		var b strings.Builder
		x := uint64(1)
		for b.Len() < 1<<20 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			fmt.Fprintf(&b, "%x ", x)
		}
		return b.String()
	},
}

func prose(n int) string {
	words := strings.Fields("payment invoice customer order the of and to in for is on that by this with you it not or be are from at as your all have new more an was we will home can us about if page my has search free but our one other do no information time they site he up may what which their news out use any there see only so his when contact here business who web also now help get view online first am been would how were services some these click its like service than find price date back top people had list name just over state year day into email two health world next used go work last most products music buy data make them should product system post her city add policy number such please available copyright support message after best software then good video well where info rights public books high school through each links she review years order very privacy book items company read group need many user said does set under general research university january mail full map reviews program life know games way days management part could great united hotel real item international center must store travel comments made development report off member details line terms before hotels did send right type because local those using results office education national car design take posted internet address community within states area want phone shipping reserved subject between forum family long based code show even black check special prices website index being women much sign file link open today technology south case project same pages version section own found sports house related security both county american photo game members power while care network down computer systems three total place end following download him without per access think north resources current posts big media law control water history pictures size art personal since including guide shop directory board location change white text small rating rate government")
	var b strings.Builder
	x := uint64(7)
	for b.Len() < n {
		x = x*6364136223846793005 + 1442695040888963407
		b.WriteString(words[(x>>33)%uint64(len(words))])
		if x>>60 == 0 {
			fmt.Fprintf(&b, " %d.", x>>40)
		}
		b.WriteByte(' ')
	}
	return b.String()[:n]
}

// call is 4 KiB of arguments: identifiers, a long body that quotes a result, and a blob.
func call(result string) []string {
	body := prose(2<<10) + result[len(result)/2:len(result)/2+600]
	return []string{
		"DE89370400440532013000", "alice.miller@gmail.com", "2026-11-23", "Re: the invoice of last month", "98.7", body,
		base64.StdEncoding.EncodeToString([]byte(prose(900))),
	}
}

// BenchmarkTrace is a call with 4 KiB of arguments in a session with 1 MiB of results.
func BenchmarkTrace(b *testing.B) {
	for name, text := range texts {
		result := text()[:1<<20]
		m := memory("Pay the invoice of alice.miller@gmail.com, as usual. "+prose(4<<10), "")
		for at := 0; at < len(result); at += 32 << 10 {
			m.Add(lineage.Source{Seq: 3, Server: "a", Tool: "b", Class: lineage.Untrusted}, lineage.Read(result[at:at+32<<10], lineage.Untrusted))
		}
		values := call(result)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Trace(values, nil)
			}
		})
	}
}

// BenchmarkRead is what it takes to read a result, per byte, before the gate's lock is taken.
func BenchmarkRead(b *testing.B) {
	for name, text := range texts {
		result := text()[:64<<10]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(result)))
			b.ReportAllocs()
			for b.Loop() {
				lineage.Read(result, lineage.Untrusted)
			}
		})
	}
}

// BenchmarkAdd is what it takes to remember a result that was read, per byte, under the lock.
func BenchmarkAdd(b *testing.B) {
	for name, text := range texts {
		result := text()[:64<<10]
		read := lineage.Read(result, lineage.Untrusted)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(result)))
			b.ReportAllocs()
			for b.Loop() {
				m := &lineage.Memory{}
				m.Add(lineage.Source{Class: lineage.Untrusted}, read)
			}
		})
	}
}
