//! repository for tests.
