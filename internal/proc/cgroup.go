package proc

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// idPattern finds the 64 hex digits by which Docker, containerd, CRI-O and
// Podman name a container, as a whole word of a cgroup path, with what
// stands before it in the same folder name.
var idPattern = regexp.MustCompile(`([^/:]*)\b([0-9a-f]{64})\b`)

// containerID returns the innermost container named in the text of
// /proc/PID/cgroup, empty when there is none.
func containerID(text string) string {
	var id string
	for line := range strings.Lines(text) {
		for _, m := range idPattern.FindAllStringSubmatch(line, -1) {
			// conmon watches a container from outside.
			if !strings.Contains(m[1], "conmon") {
				id = m[2]
			}
		}
		if id != "" {
			return id
		}
	}
	return ""
}

// podPattern finds the UID in the folder that the kubelet makes for a pod:
// kubepods-burstable-pod<UID>.slice with _ for -, or pod<UID>. A static pod has
// the hash of its manifest there.
var podPattern = regexp.MustCompile(`kubepods[^:]*[/-]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|\n|$)`)

// podUID returns the pod named in the text of /proc/PID/cgroup, empty when
// there is none.
func podUID(text string) string {
	m := podPattern.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(m[1], "_", "-")
}

// cgroupID returns the cgroup v2 id, as bpf_get_current_cgroup_id does: the
// inode of the group's folder. It is 0 where cgroup v2 is not mounted, and
// where the group lies outside of what our own cgroup namespace shows.
func (p FS) cgroupID(text string) uint64 {
	for line := range strings.Lines(text) {
		group, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok || strings.HasPrefix(group, "/..") {
			continue
		}
		mount := p.cgroupMount()
		if mount == "" {
			return 0
		}
		if st, err := os.Stat(filepath.Join(mount, group)); err == nil {
			return st.Sys().(*syscall.Stat_t).Ino
		}
	}
	return 0
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// cgroupMount returns where cgroup v2 is mounted: /sys/fs/cgroup, or
// /sys/fs/cgroup/unified on systems that still use both versions.
func (p FS) cgroupMount() string {
	b, err := os.ReadFile(filepath.Join(p.root(), "self", "mountinfo"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		if f := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 {
			return mountEscapes.Replace(f[4])
		}
	}
	return ""
}
