package component

import "time"

// now is the time in tests.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
