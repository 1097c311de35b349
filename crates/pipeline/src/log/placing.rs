//! An object whose name belongs to us alone, put and read back until it is there to the last byte.

use filmgate_bucket::{Bucket, Error as BucketError, Source};

use crate::Error;

/// Looks at an object before we give up for now.
const ROUNDS: usize = 6;
/// How often it is read before it is believed to be different: a reading can go wrong as well.
const LOOKS: usize = 2;

/// What stands under the name.
enum Found {
    Nothing,
    Equal,
    Different(Vec<u8>),
}

/// Puts `bytes` under `name`. Something different there is shown to `foreign`: when that is an error it stays and the error
/// is returned, else it is a put of ours that went wrong, and makes way.
pub(crate) async fn place_exactly(
    bucket: &dyn Bucket,
    name: &str,
    bytes: &[u8],
    foreign: impl Fn(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut different = 0;
    for _ in 0..ROUNDS {
        match look(bucket, name, bytes).await? {
            Found::Equal => return Ok(()),
            Found::Nothing => put(bucket, name, bytes).await?,
            Found::Different(other) => {
                different += 1;
                if different >= LOOKS {
                    foreign(&other)?;
                    bucket.delete(name).await?;
                    different = 0;
                }
            }
        }
    }
    Err(Error::NotPlaced { name: name.to_owned() })
}

async fn look(bucket: &dyn Bucket, name: &str, bytes: &[u8]) -> Result<Found, Error> {
    let Some(object) = bucket.head(name).await? else { return Ok(Found::Nothing) };
    // A longer one is of no interest beyond what tells it apart.
    let length = object.bytes.min(bytes.len() as u64 + 1);
    let found = match bucket.get(name, 0..length).await {
        Err(BucketError::NotFound(_)) => return Ok(Found::Nothing),
        got => got?,
    };
    Ok(if found.as_ref() == bytes { Found::Equal } else { Found::Different(found.to_vec()) })
}

async fn put(bucket: &dyn Bucket, name: &str, bytes: &[u8]) -> Result<(), Error> {
    match bucket.put(name, &Source::from_bytes(bytes.to_vec())).await {
        // The next look tells whose it is.
        Ok(()) | Err(BucketError::Exists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
