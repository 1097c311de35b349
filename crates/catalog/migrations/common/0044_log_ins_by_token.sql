-- Who came in by a token is who it says, and stays no longer than it is good.

ALTER TABLE book_sessions ADD COLUMN token_digest BLOB;
