//! A pickle machine for state dictionaries: what makes tensors is known, everything else becomes nothing.

use std::collections::BTreeMap;

/// A tensor: a view into a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    /// Name of the storage.
    pub(super) storage: String,
    /// `FloatStorage` and so on.
    pub(super) kind: String,
    /// First element.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What the machine's stack holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything that is of no interest.
    Nothing,
    Number(i64),
    Text(String),
    /// A tuple or a list.
    Items(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
    /// A class or function: module and name.
    Global(String, String),
    Storage {
        kind: String,
        key: String,
    },
    Tensor(Tensor),
    /// Where a sequence of items began.
    Mark,
}

struct Machine<'a> {
    code: &'a [u8],
    stack: Vec<Value>,
    memo: BTreeMap<usize, Value>,
}

/// What a pickle holds.
///
/// # Errors
/// It is cut, or uses what state dictionaries do not.
pub(super) fn read(code: &[u8]) -> Result<Value, String> {
    let mut machine = Machine { code, stack: Vec::new(), memo: BTreeMap::new() };
    loop {
        let operation = machine.take(1)?[0];
        if operation == b'.' {
            return machine.pop();
        }
        machine.step(operation)?;
    }
}

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.code.split_at_checked(count).ok_or("the pickle is cut")?;
        self.code = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self.code.iter().position(|&b| b == b'\n').ok_or("the pickle is cut")?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "the pickle takes more than there is".to_owned())
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self
            .stack
            .iter()
            .rposition(|v| *v == Value::Mark)
            .ok_or("the pickle takes more than there is")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn last(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let first = self.stack.len().checked_sub(count).ok_or("the pickle takes more than there is")?;
        Ok(self.stack.split_off(first))
    }

    fn insert(&mut self, items: Vec<Value>) -> Result<(), String> {
        let mut items = items.into_iter();
        match self.stack.last_mut() {
            Some(Value::Dictionary(entries)) => {
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    entries.push((key, value));
                }
                Ok(())
            }
            Some(Value::Items(list)) => {
                list.extend(items);
                Ok(())
            }
            // Items of something that is of no interest.
            Some(_) => Ok(()),
            None => Err("the pickle takes more than there is".to_owned()),
        }
    }

    fn remember(&mut self, at: usize) -> Result<(), String> {
        let value = self.stack.last().cloned().ok_or("the pickle takes more than there is")?;
        self.memo.insert(at, value);
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let value = self.memo.get(&at).cloned().ok_or("the pickle recalls what it never kept")?;
        self.stack.push(value);
        Ok(())
    }

    fn step(&mut self, operation: u8) -> Result<(), String> {
        match operation {
            // Protocol and frame: only how the pickle is written.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'}' => self.stack.push(Value::Dictionary(Vec::new())),
            b']' | b')' => self.stack.push(Value::Items(Vec::new())),
            b'N' => self.stack.push(Value::Nothing),
            0x88 | 0x89 => self.stack.push(Value::Number(i64::from(operation == 0x88))),
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.stack.push(Value::Number(number.into()));
            }
            0x8a => {
                let length = self.number(1)?;
                let bytes = self.take(length)?;
                let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
                let fill = if negative { 0xff } else { 0 };
                let wide: [u8; 8] = std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(fill));
                let value =
                    if length <= 8 { Value::Number(i64::from_le_bytes(wide)) } else { Value::Nothing };
                self.stack.push(value);
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Nothing);
            }
            b'X' => {
                let length = self.number(4)?;
                self.text(length)?;
            }
            0x8c => {
                let length = self.number(1)?;
                self.text(length)?;
            }
            b'q' => {
                let at = self.number(1)?;
                self.remember(at)?;
            }
            b'r' => {
                let at = self.number(4)?;
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let at = self.number(1)?;
                self.recall(at)?;
            }
            b'j' => {
                let at = self.number(4)?;
                self.recall(at)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(module, name));
            }
            0x93 => {
                let pair = self.last(2)?;
                let [Value::Text(module), Value::Text(name)] = &pair[..] else {
                    return Err("a class without a name".to_owned());
                };
                self.stack.push(Value::Global(module.clone(), name.clone()));
            }
            b't' | b'l' => {
                let items = self.marked()?;
                self.stack.push(Value::Items(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(operation - 0x84))?;
                self.stack.push(Value::Items(items));
            }
            b's' => {
                let items = self.last(2)?;
                self.insert(items)?;
            }
            b'a' => {
                let items = self.last(1)?;
                self.insert(items)?;
            }
            b'u' | b'e' => {
                let items = self.marked()?;
                self.insert(items)?;
            }
            // The state of an object is of no interest: a dictionary's is what PyTorch notes of versions.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let stored = self.pop()?;
                self.stack.push(storage(&stored)?);
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.stack.push(call(&callable, arguments)?);
            }
            other => {
                return Err(format!(
                    "the pickle uses operation {other:#04x}, which state dictionaries do not"
                ));
            }
        }
        Ok(())
    }

    fn unsigned(&mut self, bytes: usize) -> Result<(), String> {
        let number = self.number(bytes)?;
        self.stack.push(Value::Number(number as i64));
        Ok(())
    }
}

/// ("storage", its class, key, device, elements).
fn storage(value: &Value) -> Result<Value, String> {
    match value {
        Value::Items(items) => match &items[..] {
            [Value::Text(what), Value::Global(_, kind), Value::Text(key), ..] if what == "storage" => {
                Ok(Value::Storage { kind: kind.clone(), key: key.clone() })
            }
            _ => Err("something is kept outside that is no storage".to_owned()),
        },
        _ => Err("something is kept outside that is no storage".to_owned()),
    }
}

fn sizes(value: &Value) -> Option<Vec<usize>> {
    let Value::Items(items) = value else { return None };
    items
        .iter()
        .map(|item| if let Value::Number(n) = item { usize::try_from(*n).ok() } else { None })
        .collect()
}

fn call(callable: &Value, arguments: Value) -> Result<Value, String> {
    let Value::Global(_, name) = callable else { return Ok(Value::Nothing) };
    let Value::Items(mut arguments) = arguments else { return Ok(Value::Nothing) };
    match name.as_str() {
        "OrderedDict" => Ok(Value::Dictionary(Vec::new())),
        "_rebuild_parameter" if !arguments.is_empty() => Ok(arguments.swap_remove(0)),
        "_rebuild_tensor_v2" | "_rebuild_tensor" => match &arguments[..] {
            [Value::Storage { kind, key }, Value::Number(offset), shape, strides, ..] => {
                let parts = usize::try_from(*offset).ok().zip(sizes(shape)).zip(sizes(strides));
                let ((offset, shape), strides) = parts.ok_or("a tensor's shape is no list of sizes")?;
                Ok(Value::Tensor(Tensor { storage: key.clone(), kind: kind.clone(), offset, shape, strides }))
            }
            _ => Err("a tensor is not made as `torch.save` does it".to_owned()),
        },
        _ => Ok(Value::Nothing),
    }
}
