-- Keys by which the next messages of a channel are found, and those that somebody sends at this moment, however many were sent
-- before. The first also counts what a channel was sent of late: `due_at` of what was sent is when. A message that failed has
-- no `claimed_by`, and until its `claimed_until` its channel is left alone. An older server goes on without them.
alter table notice
    add key notice_next (channel_id, state, due_at),
    add key notice_held (state, claimed_until, channel_id, claimed_by)
