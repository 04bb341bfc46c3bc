//! placeholder
use std::path::Path;
use super::{Caps, Head, Name, SpaceId, Store};
use crate::error::{Error, Result};
pub struct FileStore;
const LATER: Error = Error::Unsupported { what: "the file store (coming within the hour)" };
impl FileStore { pub fn open(_: &Path, _: bool) -> Result<Self> { Err(LATER) } }
impl Store for FileStore {
    fn caps(&self) -> Caps { Caps { durable: true, shared: true, max_object: 1 << 36 } }
    fn read_only(&self) -> bool { true }
    fn spaces(&self) -> Result<Vec<(String, SpaceId)>> { Err(LATER) }
    fn find_space(&self, _: &str) -> Result<Option<SpaceId>> { Err(LATER) }
    fn create_space(&self, _: &str, _: SpaceId, _: &[u8]) -> Result<()> { Err(LATER) }
    fn drop_space(&self, _: SpaceId) -> Result<bool> { Err(LATER) }
    fn head(&self, _: SpaceId) -> Result<Option<Head>> { Err(LATER) }
    fn head_seq(&self, _: SpaceId) -> Result<Option<u64>> { Err(LATER) }
    fn commit(&self, _: SpaceId, _: u64, _: &[u8], _: &[(Name, &[u8])], _: &[Name]) -> Result<()> { Err(LATER) }
    fn put_new(&self, _: SpaceId, _: Name, _: &[u8]) -> Result<()> { Err(LATER) }
    fn get(&self, _: SpaceId, _: Name, _: u64, _: &mut [u8]) -> Result<()> { Err(LATER) }
    fn len(&self, _: SpaceId, _: Name) -> Result<u64> { Err(LATER) }
    fn list(&self, _: SpaceId) -> Result<Vec<(Name, u64)>> { Err(LATER) }
    fn delete(&self, _: SpaceId, _: &[Name]) -> Result<()> { Err(LATER) }
    fn reclaim(&self) -> Result<()> { Err(LATER) }
    fn size(&self) -> Result<u64> { Err(LATER) }
}
