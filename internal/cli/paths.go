package cli

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// owner is the user that created files are given to; 0 is root, or whoever
// runs this.
type owner struct{ UID, GID int }

// databasePath returns the database to use and who owns it if it has to be
// made: the path given by --db, else $INGERO_DB, else ~/.ingero/ingero.db of
// the user who called sudo, or of the user.
func databasePath(env *Env, flag string) (string, owner, error) {
	home, who, err := invokingHome(env)
	switch {
	case flag != "":
		return flag, who, nil
	case env.Getenv("INGERO_DB") != "":
		return env.Getenv("INGERO_DB"), who, nil
	case err != nil:
		return "", who, err
	}
	return filepath.Join(home, ".ingero", "ingero.db"), who, nil
}

// invokingHome returns the home directory of the user behind this process.
// With sudo that is not root: the database belongs to the one who reads it.
func invokingHome(env *Env) (string, owner, error) {
	name := env.Getenv("SUDO_USER")
	if os.Geteuid() != 0 || name == "" || name == "root" {
		home := env.Getenv("HOME")
		if home == "" {
			return "", owner{}, fmt.Errorf("find the database: $HOME is not set; give its path with --db")
		}
		return home, owner{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", owner{}, fmt.Errorf("find the home of %s (from $SUDO_USER): %w; give the database with --db", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return "", owner{}, fmt.Errorf("find the home of %s: user number %q", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return "", owner{}, fmt.Errorf("find the home of %s: group number %q", name, u.Gid)
	}
	return u.HomeDir, owner{uid, gid}, nil
}
