// Command ui bundles the dashboard: internal/web/ui into internal/web/static.
// It fetches the two libraries of the dashboard from the npm registry, by
// version and hash, and needs no Node.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	root := flag.String("root", "..", "the top of the tree")
	out := flag.String("o", "", "folder to write to (default ROOT/internal/web/static)")
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*root, "internal/web/static")
	}
	if err := build(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "ui:", err)
		os.Exit(1)
	}
}

func build(root, out string) error {
	modules, err := fetchAll()
	if err != nil {
		return err
	}
	ui, err := filepath.Abs(filepath.Join(root, "internal/web/ui"))
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	got := api.Build(api.BuildOptions{
		AbsWorkingDir: ui,
		EntryPoints:   []string{"app.tsx", "app.css"},
		Outdir:        out,
		NodePaths:     []string{modules},
		Bundle:        true,
		Write:         true,
		Format:        api.FormatESModule,
		Target:        api.ES2022,
		Charset:       api.CharsetUTF8,
		JSX:           api.JSXAutomatic,

		JSXImportSource:   "preact",
		LegalComments:     api.LegalCommentsNone,
		Banner:            map[string]string{"js": banner(), "css": banner()},
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
	})
	var all []string
	for _, m := range append(got.Errors, got.Warnings...) {
		at := ""
		if l := m.Location; l != nil {
			at = fmt.Sprintf("%s:%d:%d: ", l.File, l.Line, l.Column)
		}
		all = append(all, at+m.Text)
	}
	if len(all) > 0 {
		return fmt.Errorf("bundle:\n%s", strings.Join(all, "\n"))
	}
	return rest(ui, modules, out)
}

// rest writes what is not bundled: files as they are, and the licences.
func rest(ui, modules, out string) error {
	for _, name := range []string{"index.html", "icon.svg"} {
		data, err := os.ReadFile(filepath.Join(ui, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return err
		}
	}
	var licences strings.Builder
	for _, p := range packages {
		text, err := os.ReadFile(filepath.Join(modules, p.name, "LICENSE"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&licences, "%s %s\n\n%s\n\n", p.name, p.version, text)
	}
	return os.WriteFile(filepath.Join(out, "LICENSES.txt"), []byte(licences.String()), 0o644)
}

// banner names the libraries in the bundle and their licence, as that asks.
func banner() string {
	var names []string
	for _, p := range packages {
		names = append(names, p.name+" "+p.version+" "+p.copyright)
	}
	return "/*! contains " + strings.Join(names, "; ") + "; MIT licence: see LICENSES.txt */"
}
