//! The vault: one index as sealed objects under sealed manifests.
//!
//! Order of a write: objects first ([`Vault::put`], or with the commit), then one [`Vault::commit`] whose manifest names
//! them. What no manifest names does not exist and is swept at the next open. The vault remembers the newest head it has
//! seen; an older or a different one of the same number is [`Error::Rollback`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::backend::Backend;
use super::derive::{HASH_LEN, hkdf, sha256};
use super::envelope::{ObjectKey, check_len};
use super::head::{self, Place};
use super::keys::Keyset;
use super::keyslot::Keyslots;
use super::object::{FrameSize, Kind, LENGTH, ObjectRef, part};
use super::provider::{AeadKey, TAG_LEN};
use super::random;
use crate::error::{Error, Result, try_with_capacity};
use crate::store::{Head, Name, SpaceId, Store};
use crate::types::{KEY_LEN, MAX_NAME_LEN};

const NO_INDEX: Error = Error::NotFound { what: "index" };

/// An opened manifest.
pub struct Manifest {
    /// Number of the head that carried it.
    pub seq: u64,
    /// The engine's bytes, wiped on drop.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// A sealed object on its way to the store.
pub struct Sealed {
    /// What the manifest keeps.
    pub reference: ObjectRef,
    /// What the store keeps.
    pub bytes: Vec<u8>,
}

/// One index of a store, with its keys.
pub struct Vault {
    pub(super) store: Arc<dyn Store>,
    pub(super) id: SpaceId,
    name: String,
    pub(super) keys: Keyset,
    /// Fingerprints plaintexts for the salts of objects.
    hash: AeadKey,
    state: Mutex<State>,
    /// `state.seq`, to be read without waiting for a commit.
    seq: AtomicU64,
    /// Objects that this vault stored and did not delete: a sweep leaves them alone.
    own: Mutex<HashSet<Name>>,
    pub(super) cache: RwLock<HashMap<Name, Arc<ObjectKey>>>,
}

struct State {
    seq: u64,
    /// SHA-256 of the newest head seen.
    digest: [u8; HASH_LEN],
    slots: Keyslots,
    /// Digest of a head whose commit ended in an error: it may have been applied.
    unsettled: Option<[u8; HASH_LEN]>,
}

impl Vault {
    /// Makes an index called `name` (1 to 255 bytes) that `key` (32 bytes) opens, with a first manifest.
    pub fn create(backend: &Backend, name: &str, key: &[u8], manifest: &[u8]) -> Result<Self> {
        Self::create_with(backend, name, key, |_| Ok((Zeroizing::new(manifest.to_vec()), Vec::new())))
    }

    /// As [`create`](Self::create), with a first manifest that names objects: `first` seals them and gives both. All of
    /// it is there or nothing.
    pub fn create_with(
        backend: &Backend,
        name: &str,
        key: &[u8],
        first: impl FnOnce(&Self) -> Result<(Zeroizing<Vec<u8>>, Vec<Sealed>)>,
    ) -> Result<Self> {
        check_name(name)?;
        check_key(key)?;
        if backend.contains(name)? {
            return Err(Error::AlreadyExists { what: "index" });
        }
        let keys = Keyset::generate()?;
        let id: SpaceId = part(&random::hedged(keys.hedge()?, &[b"cyborg1/uuid"])?, 0);
        let slots = Keyslots::create(&id, key, &keys)?;
        let state = State { seq: 0, digest: [0; HASH_LEN], slots, unsettled: None };
        let vault = Self::new(backend, id, name, keys, state)?;
        let (manifest, puts) = first(&vault)?;
        {
            let mut state = vault.state.lock();
            let bytes = head::seal(vault.place(1), &vault.keys, &state.slots, &state.digest, &manifest)?;
            let puts: Vec<(Name, &[u8])> = puts.iter().map(|s| (s.reference.name, &s.bytes[..])).collect();
            vault.store.create_space(name, id, &bytes, &puts)?;
            vault.own.lock().extend(puts.iter().map(|(name, _)| *name));
            (state.seq, state.digest) = (1, sha256(&bytes));
        }
        vault.seq.store(1, Ordering::Release);
        Ok(vault)
    }

    /// Opens the index called `name`. [`Error::NotFound`], [`Error::WrongKey`], [`Error::Version`], or
    /// [`Error::Corrupt`], which is never mistaken for a wrong key.
    pub fn open(backend: &Backend, name: &str, key: &[u8]) -> Result<(Self, Manifest)> {
        check_name(name)?;
        check_key(key)?;
        let id = backend.store()?.find_space(name)?.ok_or(NO_INDEX)?;
        let found = backend.store()?.head(id)?.ok_or(Error::Corrupt { what: "catalog (an index without a head)" })?;
        let (slots, envelope) = head::split(&id, &found.bytes)?;
        let keys = slots.unlock(&id, key)?;
        let place = Place { uuid: &id, name, seq: found.seq };
        let opened = head::open(place, &keys, &found.bytes, &slots, envelope)?;
        let state = State { seq: found.seq, digest: sha256(&found.bytes), slots, unsettled: None };
        Ok((Self::new(backend, id, name, keys, state)?, Manifest { seq: found.seq, bytes: opened.bytes }))
    }

    fn new(backend: &Backend, id: SpaceId, name: &str, keys: Keyset, state: State) -> Result<Self> {
        let mut hash = Zeroizing::new([0; 32]);
        hkdf(keys.hedge()?, &id, &[b"cyborg1/fingerprint"], &mut *hash)?;
        Ok(Self {
            hash: AeadKey::new(&hash)?,
            store: Arc::clone(backend.store()?),
            id,
            name: name.to_owned(),
            keys,
            seq: AtomicU64::new(state.seq),
            own: Mutex::default(),
            state: Mutex::new(state),
            cache: RwLock::default(),
        })
    }

    /// Name of the index.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uuid: 16 random bytes, not secret.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.id
    }

    /// Number of the newest head seen.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Whether every write gives [`Error::ReadOnly`].
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.store.read_only()
    }

    /// [`Error::WrongKey`] unless `key` opens this index. For a second open of what is open already.
    pub fn check_key(&self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.keys.check_pid()?;
        let slots = self.state.lock().slots.clone();
        slots.check(&self.id, key)
    }

    /// Reads the newest manifest. [`Error::Rollback`] when the store shows less than was seen, or another history.
    pub fn load(&self) -> Result<Manifest> {
        self.keys.check_pid()?;
        let mut state = self.state.lock();
        let found = self.store.head(self.id)?.ok_or(NO_INDEX)?;
        self.accept(&mut state, &found)
    }

    /// Checks a head against what was seen and makes it the newest.
    fn accept(&self, state: &mut State, found: &Head) -> Result<Manifest> {
        let rollback = Error::Rollback { seen: state.seq, got: found.seq };
        if found.seq < state.seq {
            return Err(rollback);
        }
        let digest = sha256(&found.bytes);
        let (slots, envelope) = head::split(&self.id, &found.bytes)?;
        let opened = head::open(self.place(found.seq), &self.keys, &found.bytes, &slots, envelope)?;
        let same = |a: &[u8; HASH_LEN], b: &[u8; HASH_LEN]| bool::from(a.ct_eq(b));
        if found.seq == state.seq && !same(&digest, &state.digest)
            || found.seq == state.seq + 1 && !same(&opened.previous, &state.digest)
        {
            return Err(rollback);
        }
        *state = State { seq: found.seq, digest, slots, unsettled: None };
        self.seq.store(found.seq, Ordering::Release);
        Ok(Manifest { seq: found.seq, bytes: opened.bytes })
    }

    /// A keyed fingerprint of a plaintext, for the salt that it is sealed under.
    pub(super) fn fingerprint(&self, plaintext: &[u8]) -> Result<[u8; TAG_LEN]> {
        self.hash.fingerprint(plaintext)
    }

    fn place(&self, seq: u64) -> Place<'_> {
        Place { uuid: &self.id, name: &self.name, seq }
    }

    /// Whether the store has a newer head than was seen. One small read.
    pub fn newer(&self) -> Result<bool> {
        self.keys.check_pid()?;
        let seen = self.seq();
        match self.store.head_seq(self.id)?.ok_or(NO_INDEX)? {
            got if got < seen => Err(Error::Rollback { seen, got }),
            got => Ok(got > seen),
        }
    }

    /// Seals an object in frames of one size. The last is padded with zeroes. Pure computation: nothing is written.
    pub fn seal(&self, kind: Kind, frame_size: FrameSize, plaintext: &[u8]) -> Result<Sealed> {
        self.seal_pieces(kind, frame_size, &[plaintext])
    }

    /// As [`seal`](Self::seal), of a plaintext whose parts lie in several places: a few large ones, since each has a
    /// fingerprint of its own in the salt.
    pub fn seal_pieces(&self, kind: Kind, frame_size: FrameSize, pieces: &[&[u8]]) -> Result<Sealed> {
        if frame_size == FrameSize::Cut {
            return Err(Error::Internal { what: "seal: a cut object without lengths" });
        }
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        check_len(len, frame_size.payload())?;
        self.seal_frames(kind, frame_size, 0, len, pieces, std::iter::repeat(frame_size.payload()))
    }

    /// Seals an object whose frames hold the pieces of `plaintext` that `lens` cuts it into: at most
    /// [`MAX_PIECES`](ObjectRef::MAX_PIECES) of at most [`FrameSize::Cut`] bytes each.
    pub fn seal_cut(&self, kind: Kind, plaintext: &[u8], lens: &[u32]) -> Result<Sealed> {
        const UNFIT: Error = Error::Internal { what: "seal: pieces do not fit" };
        let size = FrameSize::Cut;
        let pieces = u16::try_from(lens.len()).map_err(|_| UNFIT)?;
        if lens.is_empty()
            || lens.iter().any(|&len| !(1..=size.payload()).contains(&(len as usize)))
            || lens.iter().map(|&len| u64::from(len)).sum::<u64>() != plaintext.len() as u64
        {
            return Err(UNFIT);
        }
        let mut table = Zeroizing::new(try_with_capacity(lens.len() * LENGTH, "sealed object")?);
        lens.iter().for_each(|len| table.extend_from_slice(&len.to_le_bytes()));
        let payloads = std::iter::once(table.len()).chain(lens.iter().map(|&len| len as usize));
        self.seal_frames(kind, size, pieces, plaintext.len(), &[&table, plaintext], payloads)
    }

    /// Seals `plain`, of which each frame takes as many bytes as `payloads` says, into an object of `len` bytes.
    pub(super) fn seal_frames(
        &self,
        kind: Kind,
        frame_size: FrameSize,
        pieces: u16,
        len: usize,
        plain: &[&[u8]],
        payloads: impl Iterator<Item = usize>,
    ) -> Result<Sealed> {
        self.keys.check_pid()?;
        let hedge = self.keys.hedge()?;
        let mut name = [0u8; 24];
        name[..16].copy_from_slice(&random::hedged(hedge, &[b"cyborg1/name"])?[..16]);
        name[16..].copy_from_slice(&self.seq().to_be_bytes());
        let fingerprints = plain.iter().map(|piece| self.fingerprint(piece)).collect::<Result<Vec<_>>>()?;
        let salt = random::hedged(hedge, &[b"cyborg1/object salt", &name, fingerprints.as_flattened()])?;
        let mut reference = ObjectRef {
            name: Name(name),
            kind,
            frame_size,
            epoch: self.keys.epoch(),
            pieces,
            payload_len: len as u64,
            salt,
            digest: [0; HASH_LEN],
        };
        let (bytes, digest) = ObjectKey::derive(&self.keys, &self.id, &reference)?.seal(plain, payloads)?;
        reference.digest = digest;
        Ok(Sealed { reference, bytes })
    }

    /// Stores an object, durably. Until a manifest names it, it does not exist for anyone.
    pub fn put(&self, sealed: &Sealed) -> Result<()> {
        self.keys.check_pid()?;
        self.own.lock().insert(sealed.reference.name);
        match self.store.put_new(self.id, sealed.reference.name, &sealed.bytes) {
            Err(Error::NotFound { .. }) => Err(NO_INDEX),
            other => other,
        }
    }

    /// One durable step: stores `puts`, removes `deletes`, and makes `manifest` the newest. Returns its number.
    /// [`Error::Fenced`] when another writer committed since. After any other error the step happened wholly or not at
    /// all; the next commit of this vault finds out which and follows it.
    pub fn commit(&self, manifest: &[u8], puts: Vec<Sealed>, deletes: &[ObjectRef]) -> Result<u64> {
        self.keys.check_pid()?;
        let mut state = self.state.lock();
        self.settle(&mut state)?;
        let seq = state.seq + 1;
        let bytes = head::seal(self.place(seq), &self.keys, &state.slots, &state.digest, manifest)?;
        let digest = sha256(&bytes);
        let puts: Vec<(Name, Vec<u8>)> = puts.into_iter().map(|s| (s.reference.name, s.bytes)).collect();
        let deletes: Vec<Name> = deletes.iter().map(|r| r.name).collect();
        self.own.lock().extend(puts.iter().map(|(name, _)| *name));
        match self.store.commit(self.id, state.seq, &bytes, puts, &deletes) {
            Ok(()) => {}
            Err(
                e @ (Error::Fenced | Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::ReadOnly { .. }),
            ) => {
                return Err(e);
            }
            Err(e) => {
                state.unsettled = Some(digest);
                // The store may have applied it and failed to say so.
                self.settle(&mut state).map_err(|_| e.clone())?;
                if state.seq != seq {
                    return Err(e);
                }
            }
        }
        state.seq = seq;
        state.digest = digest;
        state.unsettled = None;
        self.seq.store(seq, Ordering::Release);
        self.forget(&deletes);
        Ok(seq)
    }

    /// Whether the last commit ended in an error and may have been applied all the same: the store was asked and did not
    /// answer. Objects that it names must not be deleted then.
    pub fn in_doubt(&self) -> bool {
        self.state.lock().unsettled.is_some()
    }

    /// Finds out whether a commit that ended in an error was applied.
    fn settle(&self, state: &mut State) -> Result<()> {
        let Some(digest) = state.unsettled else { return Ok(()) };
        let found = self.store.head(self.id)?.ok_or(NO_INDEX)?;
        if found.seq == state.seq + 1 && sha256(&found.bytes) == digest {
            state.seq = found.seq;
            state.digest = digest;
            self.seq.store(found.seq, Ordering::Release);
        }
        state.unsettled = None;
        Ok(())
    }

    /// Drops what is remembered of objects that are gone.
    fn forget(&self, names: &[Name]) {
        if !names.is_empty() {
            let mut cache = self.cache.write();
            let mut own = self.own.lock();
            for name in names {
                cache.remove(name);
                own.remove(name);
            }
        }
    }

    /// Removes objects that no manifest names any more. Absent ones are no error.
    pub fn delete(&self, references: &[ObjectRef]) -> Result<()> {
        self.keys.check_pid()?;
        let names: Vec<Name> = references.iter().map(|r| r.name).collect();
        self.forget(&names);
        self.store.delete(self.id, &names)
    }

    /// Removes what an earlier process left behind: every object that is neither in `live` nor of this vault's making.
    /// Returns how many. What this vault has stored and not yet committed is never touched.
    pub fn sweep(&self, live: &[ObjectRef]) -> Result<u64> {
        self.keys.check_pid()?;
        let live: HashSet<Name> = live.iter().map(|r| r.name).collect();
        let mut names: Vec<Name> = self.store.list(self.id)?.into_iter().map(|(name, _)| name).collect();
        {
            let own = self.own.lock();
            names.retain(|name| !live.contains(name) && !own.contains(name));
        }
        if !names.is_empty() {
            self.store.delete(self.id, &names)?;
        }
        Ok(names.len() as u64)
    }

    /// Bytes of all stored objects of this index, live or not.
    pub fn stored_bytes(&self) -> Result<u64> {
        self.keys.check_pid()?;
        Ok(self.store.list(self.id)?.iter().map(|(_, len)| len).sum())
    }

    /// Gives the room of removed objects back to the system.
    pub fn reclaim(&self) -> Result<()> {
        self.keys.check_pid()?;
        self.store.reclaim()
    }

    /// Removes the index: its keyslots first, so that the rest is noise whatever happens next.
    pub fn destroy(&self) -> Result<()> {
        self.keys.check_pid()?;
        if self.store.drop_space(self.id)? { Ok(()) } else { Err(NO_INDEX) }
    }
}

pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() == KEY_LEN { Ok(()) } else { Err(Error::invalid("key length", key.len(), "32 bytes")) }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(Error::invalid("index name length", name.len(), "1 to 255 bytes"));
    }
    Ok(())
}
