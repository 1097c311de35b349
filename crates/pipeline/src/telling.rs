//! What happens in the catalog, in the words of the log: given to the catalog at its opening, called in its transactions.

use filmgate_catalog::{Because, Error as CatalogError, Outgoing, Told};
use filmgate_log::{Body, IDS_MAX, Target, Why};
use filmgate_model::{FactId, PackId};
use sha2::{Digest, Sha256};

/// The facts that tell of it, in order.
///
/// # Errors
/// When something said is longer than the log takes.
pub fn tell(told: &Told<'_>) -> Result<Vec<Outgoing>, CatalogError> {
    match *told {
        Told::HoldPlaced { hold_id, study, because } => {
            one(Some(hold_id), &Body::Hold { study: study.to_owned(), why: why(because) })
        }
        Told::HoldReleased { hold_id, study, because } => {
            one(None, &Body::HoldReleased { hold: hold_id, study: study.to_owned(), why: why(because) })
        }
        Told::Kept { study, until, because } => {
            one(None, &Body::Retention { study: study.to_owned(), until, why: why(because) })
        }
        Told::DeletionRequested { new, records } => {
            let study = new.study_instance_uid.clone();
            let target = match &new.sop_instance_uid {
                Some(sop) => Target::Instance { study, sop: sop.clone() },
                None => Target::Study(study),
            };
            let requested = Body::DeleteRequested { target, why: why(&new.because) };
            let mut facts = one(Some(new.deletion_id), &requested)?;
            for records in records.chunks(IDS_MAX) {
                let names = Body::DeleteNames { request: new.deletion_id, records: records.to_vec() };
                facts.push(outgoing(None, &names)?);
            }
            Ok(facts)
        }
        Told::DeletionConfirmed { deletion_id, who, due_at } => {
            let why = Why { who: who.to_owned(), reason: String::new() };
            one(None, &Body::DeleteConfirmed { request: deletion_id, due_at, why })
        }
        Told::DeletionCancelled { deletion_id, because } => {
            one(None, &Body::DeleteWithdrawn { request: deletion_id, why: why(because) })
        }
        Told::DeletionDone { deletion_id } => one(None, &Body::DeleteDone { request: deletion_id }),
        Told::PacksReplaced { replaced, by } => {
            let replaced = replaced.chunks(IDS_MAX);
            let facts =
                replaced.map(|some| outgoing(None, &Body::PackReplaced { replaced: some.to_vec(), by }));
            facts.collect()
        }
        Told::PackDeleted { pack_id, why } => deleted(pack_id, why),
    }
}

/// The pack's bytes wait until this is in the log.
fn deleted(pack_id: PackId, why: &str) -> Result<Vec<Outgoing>, CatalogError> {
    let why = Why { who: "filmgate".to_owned(), reason: why.to_owned() };
    let fact = outgoing(None, &Body::PackDeleted { pack_id, why })?;
    Ok(vec![Outgoing { goes: Some(pack_id), ..fact }])
}

fn one(fact_id: Option<FactId>, body: &Body) -> Result<Vec<Outgoing>, CatalogError> {
    Ok(vec![outgoing(fact_id, body)?])
}

/// What is not known by an id of its own is known by what it says: told again, it is the same fact.
pub(crate) fn outgoing(fact_id: Option<FactId>, body: &Body) -> Result<Outgoing, CatalogError> {
    let bytes = body.to_bytes().map_err(|_| CatalogError::TooLarge { what: "what is said of it" })?;
    let fact_id = fact_id.unwrap_or_else(|| {
        let digest = Sha256::new().chain_update(body.kind().to_le_bytes()).chain_update(&bytes).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        FactId(id)
    });
    Ok(Outgoing { fact_id, kind: body.kind(), body: bytes, pack_id: None, goes: None })
}

fn why(because: &Because) -> Why {
    Why { who: because.who.clone(), reason: because.why.clone() }
}
