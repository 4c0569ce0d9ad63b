package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A file of the dashboard is sent once, and then only when it changed.
func TestStatic(t *testing.T) {
	h := New(nil)
	get := func(path, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/", "/app.js", "/app.css"} {
		first := get(path, "")
		if first.Code != http.StatusOK || first.Body.Len() == 0 || first.Header().Get("Content-Security-Policy") == "" {
			t.Fatalf("%s: %d", path, first.Code)
		}
		if again := get(path, first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s again: %d, %d bytes", path, again.Code, again.Body.Len())
		}
	}
}
