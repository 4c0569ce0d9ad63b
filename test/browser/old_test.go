package browser

import (
	"path/filepath"
	"testing"
)

// Recordings of older versions show in every view what they hold, without an
// error.
func TestOldRecordings(t *testing.T) {
	files, err := filepath.Glob(root + "/../shared/recordings/*.db")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the recordings are not here: shared/recordings beside the checkout")
	}
	ctx := browser(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := open(t, ctx, dashboard(t, file), "")
			for _, view := range views {
				p.view(view)
				if text := eval[string](p, "document.querySelector('main .problem')?.innerText ?? ''"); text != "" {
					t.Errorf("%s: %s", view, text)
				}
			}
		})
	}
}
