package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What examples/service starts is a command of umpire, with flags that it has.
func TestServicesStartTheDaemon(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, "examples", "service", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	sections := map[string]map[string]string{}
	section := ""
	for line := range strings.Lines(read("umpire.service")) {
		line = strings.TrimSpace(line)
		name, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "", line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1 : len(line)-1]
			sections[section] = map[string]string{}
		case !assigned || sections[section] == nil || sections[section][name] != "":
			t.Errorf("a line that is none: %q", line)
		default:
			sections[section][name] = value
		}
	}
	if sections["Install"]["WantedBy"] != "default.target" || sections["Service"]["UMask"] != "0077" {
		t.Errorf("%v", sections)
	}
	starts := map[string][]string{"umpire.service": strings.Fields(sections["Service"]["ExecStart"])}

	keys := map[string][]string{}
	key, element := "", ""
	for d := xml.NewDecoder(strings.NewReader(read("dev.umpire.plist"))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
		case xml.EndElement:
			element = ""
		case xml.CharData:
			switch element {
			case "key":
				key = string(token)
			case "string", "integer":
				keys[key] = append(keys[key], string(token))
			}
		}
	}
	if keys["Label"][0] != "dev.umpire" || keys["Umask"][0] != "63" {
		t.Errorf("%v", keys)
	}
	starts["dev.umpire.plist"] = keys["ProgramArguments"]

	for name, argv := range starts {
		if len(argv) < 2 || filepath.Base(argv[0]) != "umpire" {
			t.Fatalf("%s starts %q", name, argv)
		}
		cmd, args, err := (&app{stdout: io.Discard, stderr: io.Discard}).root().Find(argv[1:])
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err != nil || cmd.Name() != "serve" {
			t.Errorf("%s starts %q: %v", name, argv, err)
		}
	}
}
