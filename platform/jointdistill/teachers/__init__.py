"""Where a frozen answer comes from: one file a kind of teacher."""
